"""What eval.py writes, and what it never writes over: two runs at once, another model's rows, inputs, links, pipes."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, eval_command, read_rows, run_eval, wait_for_rows, write_noise

from speech_emotion.commands import classify as eval
from speech_emotion.inference.table import Table, read_table
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

ONE_BY_ONE = ("--batch-size", 1, "--workers", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Thirty recordings, two of which have no emotion."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(28):
        write_noise(folder / f"{seed:02}.wav", seed, seconds=1 + 4 * (seed % 7 == 0))
    (folder / "03broken.wav").write_text("this is not audio")
    write_noise(folder / "11short.wav", 0, seconds=0.05)
    return folder


@pytest.fixture(scope="module")
def other(model, tmp_path_factory) -> Path:
    """Another model with the same labels."""
    checkpoint = load_checkpoint(model)
    with torch.no_grad():
        for weights in checkpoint.network.parameters():
            weights += 0.05 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("other") / "other.pt"
    save_checkpoint(path, Checkpoint(checkpoint.network, checkpoint.labels))
    return path


@pytest.fixture(scope="module")
def whole(folder, model, tmp_path_factory) -> Path:
    """The tables of an undisturbed run."""
    at = tmp_path_factory.mktemp("whole")
    assert run_eval(folder, "--model", model, *ONE_BY_ONE, "--timeline", "t.csv", cwd=at).returncode == 1
    return at


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stopped(folder, model, *options, cwd: Path, rows: int = 9) -> None:
    """A run that was killed when its table had some rows."""
    process = subprocess.Popen(
        eval_command(folder, "--model", model, *ONE_BY_ONE, *options), cwd=cwd, stderr=subprocess.DEVNULL
    )
    wait_for_rows(process, cwd / "out.csv.part", rows, seconds=60)
    process.kill()
    process.wait()


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock.part"))
    return {path: path.read_bytes() for path in files}


def refused(*arguments, cwd: Path) -> str:
    """The sentence of a run that refuses, after which every file is as it was."""
    before = contents(cwd)
    result = run_eval(*arguments, cwd=cwd)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert contents(cwd) == before
    return result.stderr.removeprefix("eval.py: ").strip()


def test_a_second_run_is_told_who_has_the_table(folder, model, whole, tmp_path):
    arguments = (folder, "--model", model, *ONE_BY_ONE)
    first = subprocess.Popen(eval_command(*arguments), cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for_rows(first, tmp_path / "out.csv.part", 3, seconds=60)
    first.send_signal(signal.SIGSTOP)
    (tmp_path / "link.csv").symlink_to("out.csv")
    for options in ((), ("--resume",), ("--out", "link.csv")):
        message = refused(*arguments, *options, cwd=tmp_path)
        assert f"is being written by process {first.pid}; wait for it" in message
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=60) == 1
    assert (tmp_path / "out.csv").read_bytes() == (whole / "out.csv").read_bytes()
    assert names(tmp_path) == ["link.csv", "out.csv"]


@pytest.mark.parametrize("timeline", [(), ("--timeline", "t.csv")])
def test_a_part_of_another_model_is_refused(folder, model, other, tmp_path, timeline):
    stopped(folder, model, *timeline, cwd=tmp_path)
    message = refused(folder, "--model", other, "--resume", *timeline, cwd=tmp_path)
    assert message == "out.csv.part is from a run with another model or other options; leave out --resume to start over"


@pytest.mark.slow
def test_a_part_with_another_adaptation_or_other_inputs_to_it_is_refused(folder, whole, tmp_path):
    any_voice = REPOSITORY / "model_any_voice.pt"
    stopped(folder, any_voice, "--all-sounds", "--adapt", cwd=tmp_path, rows=2)
    (tmp_path / "few").mkdir()
    write_noise(tmp_path / "few" / "a.wav", 1)
    for arguments in ((folder,), (folder, "--adapt", "folder"), (folder, "few", "--adapt")):
        assert "or other options" in refused(*arguments, "--all-sounds", "--model", any_voice, "--resume", cwd=tmp_path)


@pytest.mark.slow
def test_a_timeline_of_another_model_or_of_fewer_recordings_is_refused(folder, model, other, tmp_path):
    stopped(folder, other, "--timeline", "t.csv", cwd=tmp_path)
    for kind in ("part", "run.part"):
        (tmp_path / f"out.csv.{kind}").unlink()
        (tmp_path / f"t.csv.{kind}").rename(tmp_path / f"kept.{kind}")
    stopped(folder, model, cwd=tmp_path, rows=20)
    arguments = (folder, "--model", model, "--resume", "--timeline", "t.csv")
    assert "t.csv lacks windows of recordings that are in out.csv" in refused(*arguments, cwd=tmp_path)
    for kind in ("part", "run.part"):
        (tmp_path / f"kept.{kind}").rename(tmp_path / f"t.csv.{kind}")
    assert "t.csv.part is from a run with another model" in refused(*arguments, cwd=tmp_path)
    shutil.copy(tmp_path / "out.csv.run.part", tmp_path / "t.csv.run.part")  # the same model, but it has nine only
    assert "t.csv lacks windows of recordings that are in out.csv" in refused(*arguments, cwd=tmp_path)


COUNTED = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from speech_emotion.commands import classify as eval
from speech_emotion.inference.predictor import Predictor
real = Predictor.answers
def noted(self, paths, *arguments, **options):
    paths = list(paths)
    print("classified:", len(paths), file=sys.stderr)
    return real(self, paths, *arguments, **options)
Predictor.answers = noted
sys.exit(eval.main())
"""


def classified(*arguments, cwd: Path) -> tuple[list[int], str]:
    """How many recordings an eval.py that ends well classified, in every round, and what it printed."""
    command = [sys.executable, "-c", COUNTED, *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1, result.stderr
    return [int(n) for n in re.findall(r"classified: (\d+)", result.stderr)], result.stdout


@pytest.mark.parametrize("part", ["out.csv", "t.csv"])
def test_a_run_that_was_killed_around_its_end_classifies_one_recording_again(folder, model, whole, tmp_path, part):
    """Before the tables have their names, and when that of the recordings lacks it alone, as it never should."""
    arguments = (folder, "--model", model, *ONE_BY_ONE, "--timeline", "t.csv", "--resume")
    stopped(folder, model, "--timeline", "t.csv", cwd=tmp_path)
    for name in ("out.csv", "t.csv"):
        shutil.copy(whole / name, tmp_path / f"{name}.part")
    shutil.copy(whole / part, tmp_path / part)
    rounds, said = classified(*arguments, cwd=tmp_path)
    assert rounds == [1] and "28 recordings classified, 2 without an emotion; the table is in out.csv" in said
    assert names(tmp_path) == ["out.csv", "t.csv"]
    assert all((tmp_path / name).read_bytes() == (whole / name).read_bytes() for name in names(tmp_path))


NOT_UTF8 = ("=a.wav", "'=a.wav", "''=a.wav", "\udcff.wav", "a;=1+1;.wav")


@pytest.mark.parametrize("kinds", [("csv", "csv"), ("csv", "jsonl"), ("csv", "parquet"), ("jsonl", "csv")])
def test_a_finished_run_is_never_refused_whatever_the_names(model, tmp_path, kinds):
    if "parquet" in kinds:
        pytest.importorskip("pyarrow", reason="requirements-ray.txt is not installed")
    for name in NOT_UTF8:
        write_noise(tmp_path / "new.wav", 40)
        (tmp_path / "new.wav").rename(tmp_path / name)
    out, t = (f"{name}.{kind}" for name, kind in zip(("out", "t"), kinds, strict=True))
    arguments = (*NOT_UTF8, "--model", model, *ONE_BY_ONE, "--out", out, "--timeline", t)
    for more in ((), ("--resume",)):
        result = run_eval(*arguments, *more, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert ("classifying all recordings" in result.stderr) == bool(more)
        for table in (out, t):
            urls = {row["url"] for row in read_table(tmp_path / table)}
            assert urls == {name if table.endswith("csv") else name.replace("\udcff", "\\xff") for name in NOT_UTF8}
    assert [name for name in names(tmp_path) if "part" in name] == []


def test_the_channels_of_a_recording_are_not_taken_apart(tmp_path):
    """Wherever the file is torn, a recording is there with all its rows or is done again, and its windows with it."""
    recordings = {
        url: [{"url": url, "emotion": "sad", "confidence": n, "error": ""} for n in range(channels)]
        for url, channels in (("a", 2), ("b", 1), ("c", 3))
    }
    columns, of_windows = ["url", "emotion", "confidence", "error"], ["url", "confidence", "start"]

    def run(resume: bool) -> list[bytes]:
        with (
            Table(tmp_path / "out.csv", columns, resume) as table,
            Table(tmp_path / "t.csv", of_windows, resume, of=table) as timeline,
        ):
            passed = list(table.kept())
            for url, rows in recordings.items():
                if url not in table:
                    assert url not in timeline
                    timeline.write({**row, "start": start} for row in rows for start in (0, 3))
                    table.write(rows)
                    passed.append(rows)
            table.finish(timeline)
        assert passed == list(recordings.values()), "each once, from before or now, with all its rows"
        return [(tmp_path / name).read_bytes() for name in ("out.csv", "t.csv")]

    whole = out, t = run(resume=False)
    for length in range(len(out)):
        n_rows = out[:length].count(b"\n") - 1  # windows were there for these, and perhaps for the next recording
        done = 0 if n_rows < 2 else 4 if n_rows < 3 else 6 if n_rows < 6 else 12
        first = t.splitlines(keepends=True)[: 1 + done]
        for torn in (b"".join(first), t):
            (tmp_path / "out.csv.part").write_bytes(out[:length])
            (tmp_path / "t.csv.part").write_bytes(torn)
            assert run(resume=True) == whole, (length, len(torn))


@pytest.mark.parametrize("option", ["--out", "--timeline", "--plot"])
def test_neither_an_input_nor_the_model_is_overwritten(folder, model, tmp_path, option, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kind = "png" if option == "--plot" else "csv"
    (tmp_path / "in").mkdir()
    shutil.copy(model, tmp_path / f"m.{kind}")
    shutil.copy(folder / "00.wav", tmp_path / "in" / f"a.{kind}")
    (tmp_path / "alias").symlink_to("in")
    (tmp_path / f"link.{kind}").symlink_to(f"alias/a.{kind}")
    (tmp_path / f"hard.{kind}").hardlink_to(tmp_path / "in" / f"a.{kind}")
    for name in ("in/a", "./in/../in/a", "alias/a", "link", "hard", "m"):
        before = contents(tmp_path)
        assert eval.main([f"in/a.{kind}", "--model", f"m.{kind}", option, f"{name}.{kind}"]) == 2
        assert capsys.readouterr().err == f"eval.py: {name}.{kind} is read by this run; name another file to write\n"
        assert contents(tmp_path) == before


def test_a_link_is_followed_and_stays(folder, model, tmp_path):
    (tmp_path / "store").mkdir()
    for name, there in (("out.csv", "old"), ("t.csv", "new"), ("p.png", "newer")):
        (tmp_path / name).symlink_to(f"store/{there}")
    (tmp_path / "store" / "old").write_text("last week's")
    options = ("--timeline", "t.csv", "--plot", "p.png")
    result = run_eval(folder / "00.wav", "--model", model, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert names(tmp_path / "store") == ["new", "newer", "old"] and all(
        path.is_symlink() for path in tmp_path.glob("*.*")
    )
    assert len(read_rows(tmp_path / "out.csv")) == 1 and (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--out", "--timeline", "--plot"])
def test_pipes_devices_and_what_is_printed_to_are_refused(folder, model, tmp_path, option, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    for name in ("pipe.png", "null.png"):
        assert eval.main([str(folder / "00.wav"), "--model", str(model), option, name]) == 2
        assert capsys.readouterr().err == f"eval.py: {name} is a pipe or a device; name a file\n"
    (tmp_path / "stdout.png").symlink_to("/dev/stdout")
    message = refused(folder / "00.wav", "--model", model, option, "stdout.png", cwd=tmp_path)
    assert message == "stdout.png is a pipe or a device; name a file"
    with (tmp_path / "said.png").open("w") as file:
        command = eval_command(folder / "00.wav", "--model", model, option, "said.png")
        result = subprocess.run(command, cwd=tmp_path, stdout=file, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and "what this program prints to" in result.stderr
    assert Path("/dev/null").is_char_device() and (tmp_path / "pipe.png").is_fifo()


def test_ctrl_c_before_there_is_a_table_names_none(folder, model, tmp_path):
    code = COUNTED.replace("real(self", "signal.raise_signal(signal.SIGINT) or real(self")  # in the main thread, now
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", heed + code, str(folder), "--model", str(model)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 130 and result.stderr.endswith("\neval.py: stopped\n")
    assert names(tmp_path) == []


def test_a_lock_of_a_process_that_is_gone_does_not_block(tmp_path):
    code = "import os, sys; from speech_emotion.inference.table import Table; t = Table('t.csv', ['url'])\n"
    code += "t.write([{'url': 'a'}, {'url': 'b'}]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert names(tmp_path) == ["t.csv.lock.part", "t.csv.part", "t.csv.run.part"]
    with Table(tmp_path / "t.csv", ["url"], resume=True) as table:
        assert "a" in table and "b" not in table  # of which a row might be missing
        table.finish()
    assert names(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_label_is_no_formula_in_the_header_and_comes_back(tmp_path, kind):
    row = {"url": "a", "emotion": "x;=1", "x;=1": 0.5, "error": ""}
    for resume in (False, True):
        with Table(tmp_path / f"t.{kind}", list(row), resume) as table:
            table.write([row, row | {"url": "b"}])
            if resume:
                table.finish()
    assert kind != "csv" or (tmp_path / "t.csv").read_bytes().startswith(b"url,emotion,x;'=1,error\r\n")
    assert [set(row) for row in read_table(tmp_path / f"t.{kind}")] == [set(row)] * 3
