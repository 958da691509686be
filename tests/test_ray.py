"""eval.py --ray as its users run it: the processes are real, and so is what kills one of them."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from conftest import eval_command, read_rows, run_eval, run_eval_process, small_any_voice, wait_until, write_noise

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.models.checkpoint import save_checkpoint

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="requirements-ray.txt is not installed")


def assert_same(table: Path, expected: Path, labels: Iterable[str] = EMOTIONS) -> None:
    """The same rows in the same order, but for the last digit."""
    numbers = {"start", "end", "confidence", *labels}

    def values(row: dict) -> dict:
        return {key: float(cell) if cell and key in numbers else cell for key, cell in row.items()}

    rows = read_rows(table)
    assert len(rows) > 10
    for row, other in zip(rows, read_rows(expected), strict=True):
        assert values(row) == pytest.approx(values(other), abs=1.01e-4)


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


@needs_ray
def test_the_rows_are_those_of_a_plain_run(bucket, tmp_path):
    """With --adapt, which also takes embeddings from the cluster."""
    labels = ["bored", "怒り"]
    save_checkpoint(tmp_path / "mine.pt", small_any_voice(labels))
    for seed, seconds in enumerate([0.05] + [1] * 14 + [7] * 2):
        write_noise(tmp_path / "recordings" / f"voice{seed % 2}" / f"{seed}.wav", seed, seconds)
    (tmp_path / "recordings" / "voice0" / "0.wav").rename(tmp_path / "=odd\n.wav")
    folder = bytes(tmp_path / "recordings" / "voice1")
    os.rename(folder + b"/1.wav", folder + b"/\xff.wav")
    (tmp_path / "recordings" / "broken.wav").write_text("this is not audio")
    write_noise(bucket[0] / "a.wav", 0)

    def run(name: str, *options) -> subprocess.CompletedProcess:
        paths = ["recordings", "=odd\n.wav", "s3://calls/a.wav"]
        tables = ["--out", f"{name}.csv", "--timeline", f"{name}-windows.csv"]
        model = ["--model", "mine.pt", "--adapt", "folder", "--all-sounds"]
        return run_eval_process(*paths, *model, *tables, *options, cwd=tmp_path, env=bucket[1])

    plain, spread = run("plain"), run("ray", "--workers", 2, "--batch-size", 4, "--ray")
    assert plain.returncode == spread.returncode == 1, spread.stderr
    assert_same(tmp_path / "ray.csv", tmp_path / "plain.csv", labels)
    assert_same(tmp_path / "ray-windows.csv", tmp_path / "plain-windows.csv", labels)
    assert spread.stdout == plain.stdout.replace("plain", "ray")
    progress = spread.stderr.replace("\r", "\n").splitlines()
    assert all("s of sound" in line for line in progress if line.strip()), "Ray is silent"


@needs_ray
def test_a_process_that_is_killed_loses_no_recording_and_none_listens_to_the_network(model, tmp_path):
    for seed in range(40):
        write_noise(tmp_path / "recordings" / f"{seed}.wav", seed, seconds=20)
    arguments = ["recordings", "--model", model, "--batch-size", 1, "--workers", 2]
    assert run_eval_process(*arguments, "--out", "plain.csv", cwd=tmp_path).returncode == 0
    command, environment = eval_command(*arguments, "--ray"), {**os.environ, "HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    listening, part, main = set(), tmp_path / "out.csv.part", psutil.Process(process.pid)
    try:
        wait_until(lambda: part.exists() and part.read_bytes().count(b"\n") >= 5, process, seconds=240)
        workers = []
        while not workers:  # between two tasks, a worker has another name
            family = [main, *main.children(recursive=True)]
            workers = [child for child in family if "_results" in _name(child)]
        workers[0].kill()
        assert part.read_bytes().count(b"\n") < 40
        for member in family:
            with suppress(psutil.NoSuchProcess):
                listening |= {c.laddr.ip for c in member.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        error = process.communicate(timeout=240)[1]
    finally:
        process.terminate()  # or its cluster would outlive a test that fails
    assert process.returncode == 0, error
    assert_same(tmp_path / "out.csv", tmp_path / "plain.csv")
    assert len(family) > 4 and listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600  # whoever has it may run code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "recordings"], "'recordings' is not the address of a cluster; a PATH goes before --ray"),
        (["--ray", "127.0.0.1:1"], "cannot use the Ray cluster 127.0.0.1:1: "),
        (["--device", "cuda", "--ray"], "the cluster has no cuda device; --device cpu always works"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(model, tmp_path, monkeypatch, arguments, message):
    ray = pytest.importorskip("ray", reason="requirements-ray.txt is not installed")
    if "cuda" in arguments:  # a cluster without a GPU
        monkeypatch.setattr(ray, "init", lambda *_, **__: None)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    write_noise(tmp_path / "a.wav", 0)
    result = run_eval("a.wav", "--model", model, *arguments, cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert message in result.stderr.splitlines()[-1]
