"""Runs that are stopped in every way and resumed; time and memory for many or long files."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import (
    REPOSITORY,
    eval_command,
    output_and_peak,
    read_rows,
    run_eval,
    run_eval_process,
    wait_until,
    write_noise,
)

ONE_BY_ONE = ("--batch-size", 1, "--workers", 1, "--timeline", "timeline.csv")


@pytest.fixture(scope="module")
def uninterrupted(tone_data, model, tmp_path_factory) -> Path:
    """The tables of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run_eval(tone_data, "--model", model, *ONE_BY_ONE, cwd=folder).returncode == 0
    return folder


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(uninterrupted, tone_data, model, tmp_path):
    def heed_ctrl_c():  # jobs in the background ignore it, and so do their children
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    arguments, part = (tone_data, "--model", model, *ONE_BY_ONE), tmp_path / "out.csv.part"
    (tmp_path / "out.csv").write_text("the table of last week")
    process = subprocess.Popen(
        eval_command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    try:
        wait_until(lambda: part.exists() and part.read_bytes().count(b"\n") >= 20, process)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()  # or it would outlive a test that fails
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in error and "--resume" in error
    assert (tmp_path / "out.csv").read_text() == "the table of last week" and not (tmp_path / "timeline.csv").exists()
    head, first_row, *rows = part.read_bytes().split(b"\n")
    assert len(rows) < 200
    marked = first_row.replace(b", 0.", b", 7.", 1)  # a row that was computed again would be noticed
    part.write_bytes(b"\n".join([head, marked, *rows]))
    assert run_eval(*arguments, "--resume", cwd=tmp_path).returncode == 0
    first, *others = read_rows(tmp_path / "out.csv")
    assert first["confidence"].startswith("7.") and others == read_rows(uninterrupted / "out.csv")[1:]
    assert (tmp_path / "timeline.csv").read_bytes() == (uninterrupted / "timeline.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "timeline.csv"]


def test_a_full_disk_is_one_sentence_and_loses_no_row(uninterrupted, tone_data, model, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    arguments = (tone_data, "--model", model, *ONE_BY_ONE)
    result = run_eval_process(*arguments, cwd=tmp_path, preexec_fn=limit)
    assert result.returncode == 2 and "File too large" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out.csv").exists()
    assert 4000 < (tmp_path / "out.csv.part").stat().st_size <= 5000
    assert run_eval(*arguments, "--resume", cwd=tmp_path).returncode == 0
    for name in ("out.csv", "timeline.csv"):
        assert (tmp_path / name).read_bytes() == (uninterrupted / name).read_bytes()


@pytest.mark.slow
def test_neither_many_files_nor_long_ones_cost_memory(tmp_path, model):
    """One minute, and fifty minutes with a thousand short files; what a file left behind would show."""
    minute = np.random.default_rng(0).normal(scale=0.1, size=60 * 8_000)
    for minutes in (1, 50):
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 8_000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
    write_noise(tmp_path / "many" / "0.wav", 0, seconds=0.5)
    for number in range(1, 1000):
        (tmp_path / "many" / f"{number}.wav").hardlink_to(tmp_path / "many" / "0.wav")
    little, much = (
        output_and_peak(eval_command(*paths, "--model", model, "--workers", 2), tmp_path)[1]
        for paths in (["1.wav"], ["50.wav", "many"])
    )
    assert much < 1.2 * little


FORKED = f"""
import os, random, signal, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
import soundfile, torch, tqdm, eval
import speech_emotion.inference.predictor, speech_emotion.commands.summary
kills, seed, *arguments = sys.argv[1:]
rng = random.Random(seed)

def run(seconds, *more):
    pid = os.fork()  # before torch has threads, so that a run need not import everything again
    if pid == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os._exit(eval.main([*arguments, *more]))
    time.sleep(seconds)
    if seconds:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

start, resume = time.monotonic(), ()
assert run(0) == 1
took = time.monotonic() - start
print(flush=True)
for _ in range(int(kills)):
    sys.stdin.readline()
    status = run(rng.uniform(0, 1.1 * took), *resume)
    print(status, flush=True)
    resume = ("--resume",) if status < 0 or rng.random() < 0.5 else ()  # or from the start, over the old tables
print(run(0, "--resume"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_runs_killed_at_random_and_resumed_give_the_same_tables(model, tmp_path, kind):
    """KILLS times for both kinds: at the start, while it classifies or renames; the next run resumes each time."""
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="requirements-ray.txt is not installed")
    for seed in range(24):
        write_noise(tmp_path / "recordings" / f"{seed:03}.wav", seed, seconds=7 if seed % 10 == 0 else 1)
    (tmp_path / "recordings" / "013.wav").write_bytes(b"nothing")
    tables = [tmp_path / f"out.{kind}", tmp_path / f"t.{kind}"]
    options = ("--out", tables[0], "--timeline", tables[1], "--batch-size", 1, "--workers", 1)
    kills = int(os.environ.get("KILLS", "20")) // 2
    command = [sys.executable, "-c", FORKED, kills, kind, tmp_path / "recordings", "--model", model, *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*map(str, command)], **pipes, cwd=tmp_path) as process:
        process.stdout.readline()
        whole = [table.read_bytes() for table in tables]
        for _ in range(kills):
            print(file=process.stdin, flush=True)
            assert int(process.stdout.readline()) in (1, -signal.SIGKILL)
            assert [table.read_bytes() for table in tables] == whole, "the old ones or the new ones"
        assert int(process.stdout.readline()) == 1
    assert [table.read_bytes() for table in tables] == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["recordings", *(t.name for t in tables)])
