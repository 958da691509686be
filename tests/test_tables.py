"""What eval.py writes, and what it never writes over: two runs at once, another model's rows, inputs, links, pipes."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, contents, eval_command, read_rows, run_eval, run_python, small_any_voice, write_noise

from speech_emotion.commands import classify as eval
from speech_emotion.inference.formats import read_table
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import Table
from speech_emotion.models.checkpoint import save_checkpoint
from speech_emotion.outputs import check_outputs, replaced

COLUMNS, STRETCH_COLUMNS = ["url", "emotion", "confidence", "error"], ["url", "confidence", "start"]
OTHER_RUN = "is from a run with another model or other options; leave out --resume to start over"
NAMES = ("=a.wav", "'=a.wav", "''=a.wav", "\udcff.wav", "a;=1+1;.wav", 'b"\n,', "=c\r\n", "plain")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder that the run is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(home: Path, *arguments) -> str:
    """The sentence of a run of eval.py that refuses, after which every file is as it was."""
    before, result = contents(home), run_eval(*arguments, cwd=home)
    assert result.returncode == 2 and contents(home) == before
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("eval.py: ").strip()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows_of(url: str, n_channels: int = 1) -> list[dict]:
    return [{"url": url, "emotion": "sad", "confidence": n / 8, "error": ""} for n in range(n_channels)]


def table(**options) -> Table:
    return Table("out.csv", COLUMNS, **{"timeline": "t.csv", "stretch_columns": STRETCH_COLUMNS} | options)


def test_a_run_killed_anywhere_is_resumed_to_the_same_tables(home):
    """Wherever the part file ends, a recording has all its rows and stretches, or is classified again."""
    recordings = {url: rows_of(url, 1 + number % 3) for number, url in enumerate(NAMES)}

    def run(resume: bool) -> list[bytes]:
        with table(resume=resume) as tables:
            kept = list(tables.kept())
            for url, rows in recordings.items():
                if url not in tables:
                    tables.write(rows, [{**row, "start": start} for row in rows for start in (0.0, 3.0)])
                    kept.append(rows)
            part = tables.part.read_bytes()
            tables.finish()
        assert kept == list(recordings.values())
        assert names(home) == ["out.csv", "t.csv"]
        return [part, *(Path(name).read_bytes() for name in ("out.csv", "t.csv"))]

    whole = run(resume=False)
    assert [row["url"] for row in read_table("out.csv")] == [row["url"] for rows in recordings.values() for row in rows]
    assert len(list(read_table("t.csv"))) == 2 * len(list(read_table("out.csv")))
    ends = [number for number, byte in enumerate(whole[0]) if byte == ord("\n")]
    for length in sorted({*range(0, len(whole[0]), 10), *ends, *(end + 1 for end in ends)}):
        Path("out.csv.part").write_bytes(whole[0][:length])
        assert run(resume=True) == whole, length


def stop_after(n: int, monkeypatch) -> None:
    """From now on, a run is stopped with Ctrl-C when it has classified `n` recordings."""
    real = Predictor.answers

    def answers(*arguments, **options):
        for number, answer in enumerate(real(*arguments, **options)):
            if number == n:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(Predictor, "answers", answers)


def test_a_run_is_resumed_only_with_the_same_model_options_and_recordings_to_adapt_to(home, monkeypatch):
    for seed, name in enumerate("abc"):
        write_noise(home / "in" / f"{name}.wav", seed)
    for name, labels in (("m.pt", ["sad", "glad"]), ("other.pt", ["glad", "sad"])):
        save_checkpoint(home / name, small_any_voice(labels))
    plain = ["in", "--all-sounds", "--model", "m.pt"]
    for options in ([], ["--adapt"]):
        with monkeypatch.context() as patched:
            stop_after(1, patched)
            assert eval.main([*plain, *options]) == 130
        others = [[], ["--adapt", "folder"]] if options else [["--adapt"]]
        for different in (["--model", "other.pt", *options], ["--channels", "each", *options], *others):
            assert refusal(home, *plain, "--resume", *different).endswith(OTHER_RUN)
        if options:
            assert refusal(home, "in/a.wav", *plain[1:], "--adapt", "--resume").endswith(OTHER_RUN)
        assert eval.main([*plain, *options, "--resume"]) == 0
        assert [row["url"] for row in read_rows(home / "out.csv")] == [f"in/{name}.wav" for name in "abc"]


def test_one_process_at_a_time_writes_a_table(home, model):
    write_noise(home / "a.wav", 0)
    Path("link.csv").symlink_to("out.csv")
    with table():
        for out, options in (("out.csv", ()), ("out.csv", ("--resume",)), ("link.csv", ()), ("t.csv", ())):
            sentence = refusal(home, "a.wav", "--model", model, "--out", out, *options)
            assert sentence == f"{out} is being written by process {os.getpid()}; wait for it, or choose another path"
    assert names(home) == ["a.wav", "link.csv"]


def test_a_lock_of_a_process_that_is_gone_does_not_block(home):
    code = "import os; from speech_emotion.inference.table import Table; t = Table('out.csv', ['url'])\n"
    code += "t.write([{'url': 'a'}]); os.kill(os.getpid(), 9)"
    run_python(code, cwd=home, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert names(home) == ["out.csv.lock.part", "out.csv.part"]
    with Table("out.csv", ["url"], resume=True) as tables:
        assert "a" in tables
        tables.finish()
    assert names(home) == ["out.csv"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_name_and_label_comes_back_from_every_format(home, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="requirements-ray.txt is not installed")
    row = {"url": "", "emotion": "x;=1", "x;=1": 0.5, "error": ""}
    with Table(f"t.{kind}", list(row)) as tables:
        for name in NAMES:
            tables.write([row | {"url": name}])
        tables.finish()
    assert kind != "csv" or Path("t.csv").read_bytes().startswith(b"url,emotion,x;'=1,error\r\n")
    urls = [name if kind == "csv" else name.replace("\udcff", "\\xff") for name in NAMES]
    assert list(read_table(f"t.{kind}")) == [row | {"url": url} for url in urls]


def test_only_a_file_that_is_not_read_is_written(home):
    Path("in").mkdir()
    for name in ("in/a.csv", "m.csv"):
        Path(name).write_text("an input")
    Path("alias").symlink_to("in")
    Path("link.csv").symlink_to("alias/a.csv")
    Path("hard.csv").hardlink_to("in/a.csv")
    Path("null.csv").symlink_to("/dev/null")
    os.mkfifo("pipe.csv")
    inputs = ["s3://calls/b.wav", "gone.wav", "in/a.csv", "m.csv"]
    read = "is read by this run; name another file to write"
    for sentence, names in {
        read: ("in/a.csv", "./in/../in/a.csv", "alias/a.csv", "link.csv", "hard.csv", "m.csv"),
        "is a pipe or a device; name a file": ("pipe.csv", "null.csv"),
        "is a folder; name a file": ("in", "alias"),
    }.items():
        for name in names:
            with pytest.raises(OSError) as error:
                check_outputs(["new.csv", name], inputs)
            assert str(error.value) == f"{name} {sentence}"
    with pytest.raises(OSError, match="two of the files to write are the same: new.csv, ./new.csv"):
        check_outputs(["new.csv", "./new.csv"])
    new, target = check_outputs(["new.csv", "link.csv"])
    assert new == Path("new.csv") and target == Path("in/a.csv").resolve()


def test_a_file_is_replaced_by_a_whole_one_or_stays(home):
    Path("a").write_text("old")
    Path("link").symlink_to("a")
    with pytest.raises(KeyboardInterrupt), replaced("link") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert names(home) == ["a", "link"] and Path("a").read_text() == "old"
    with replaced("link") as part:
        part.write_text("new")
        assert Path("a").read_text() == "old"
    assert names(home) == ["a", "link"] and Path("a").read_text() == "new" and Path("link").is_symlink()


def test_a_link_is_followed_and_stays(home, model):
    write_noise(home / "a.wav", 0)
    (home / "store").mkdir()
    for name, target in (("out.csv", "old"), ("t.csv", "new"), ("p.png", "newer")):
        (home / name).symlink_to(f"store/{target}")
    (home / "store" / "old").write_text("last week's")
    assert eval.main(["a.wav", "--model", str(model), "--timeline", "t.csv", "--plot", "p.png"]) == 0
    assert names(home / "store") == ["new", "newer", "old"]
    assert all((home / name).is_symlink() for name in ("out.csv", "t.csv", "p.png"))
    assert len(read_rows(home / "out.csv")) == 1 and (home / "p.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_program_prints_to_is_refused(home, model):
    write_noise(home / "a.wav", 0)
    with Path("said.csv").open("w") as file:
        command = eval_command("a.wav", "--model", model, "--out", "said.csv")
        result = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and "what this program prints to" in result.stderr
