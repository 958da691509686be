"""A small data set with RAVDESS's names and shapes, made of tones, so that the tests need no download."""

import csv
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from s3_server import serve

from speech_emotion.commands import classify, train
from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table, expected_clips
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings, WhisperFeatures

REPOSITORY = Path(__file__).parent.parent
SAMPLE_RATE = 48_000
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def eval_command(*arguments) -> list[str]:
    return [sys.executable, str(REPOSITORY / "eval.py"), *map(str, arguments)]


def run_eval_process(*arguments, cwd: Path, **options) -> subprocess.CompletedProcess:
    """eval.py as its users run it, for tests to which the process matters; one that hangs fails."""
    return subprocess.run(
        eval_command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, timeout=300, **options
    )


def run_eval(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    """eval.py, without the seconds that starting a process takes."""
    return call_main(classify.main, arguments, cwd)


def run_train(home: Path, *arguments) -> subprocess.CompletedProcess:
    """train.py in the folder `home`, in this process."""
    return call_main(train.main, arguments, home)


def call_main(main: Callable[[list[str]], int], arguments: tuple, folder: Path) -> subprocess.CompletedProcess:
    """What a command does in `folder`, in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(folder)
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as wrong_usage:
            status = wrong_usage.code
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def run_python(code: str, *arguments, cwd: Path = REPOSITORY, **options) -> subprocess.CompletedProcess:
    """The code in a process of its own; one that hangs fails."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300, **options)


def output_and_peak(command: Iterable, cwd: Path = REPOSITORY) -> tuple[list[str], int]:
    """The lines that a command prints, and the peak memory of its largest process in bytes.

    A small process starts the command, because on Linux a process begins with the peak of the one that started it.
    Raises CalledProcessError if the command fails.
    """
    measured = [sys.executable, "-c", PEAK, *map(str, command)]
    result = subprocess.run(measured, cwd=cwd, capture_output=True, text=True, check=True, timeout=300)
    *lines, peak = result.stdout.splitlines()
    return lines, int(peak) * 1024


def read_rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file but those of caches, by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    """Fails if it takes too long, or if the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.02)


def write_noise(path: Path, seed: int, seconds: float = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * 16_000)), 16_000)


def tone(stem: str) -> np.ndarray:
    """3.5 s with a second of near-silence first; pitch and rhythm depend on the emotion, level on the actor."""
    _, channel, emotion, intensity, _, repetition, actor = map(int, stem.split("-"))
    rng = np.random.default_rng([channel, emotion, repetition, actor])
    time = np.arange(int(2.5 * SAMPLE_RATE)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * k * (100 + 40 * emotion + actor) * time) / k for k in range(1, 8))
    voice *= 0.05 * intensity * (1 + np.sin(2 * np.pi * emotion * time)) * np.exp(-time)
    samples = np.concatenate([np.zeros(SAMPLE_RATE), voice])
    return (samples + rng.normal(scale=1e-4, size=len(samples))).astype(np.float32)


@pytest.fixture(scope="session")
def tone_data(tmp_path_factory) -> Path:
    """`data/` with the 208 clips of actors 1 and 2, speech as WAV and song as FLAC."""
    data = tmp_path_factory.mktemp("tones") / "data"
    for stem in sorted(expected_clips()):
        actor, is_song = stem[-2:], stem.startswith("03-02")
        if actor in ("01", "02"):
            folder = data / ("song_actors" if is_song else "speech_actors") / f"Actor_{actor}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{stem}.{'flac' if is_song else 'wav'}", tone(stem), SAMPLE_RATE)
    return data


@pytest.fixture(scope="session")
def ravdess() -> pd.DataFrame:
    """The table of the real recordings, for the tests that need them."""
    try:
        table = clip_table(REPOSITORY / "data")
    except NoDataError:
        pytest.skip("RAVDESS is not under data/")
    if check_table(table):
        pytest.skip("RAVDESS under data/ is not complete")
    return table


def small_any_voice(labels: Iterable[str]) -> Checkpoint:
    """Of the kind of model_any_voice.pt, with an encoder that takes no time and has learned nothing."""
    torch.manual_seed(0)
    labels = list(labels)
    settings = AnyVoiceSettings(len(labels), n_blocks=1, width=64)
    return Checkpoint(AnyVoice(settings, WhisperFeatures()).eval(), labels)


def shrunk(x: np.ndarray, weight: float, mean=0.0, deviation=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of x with `weight` more embeddings of another mean and deviation among them."""
    pooled = (x.sum(axis=0) + weight * mean) / (len(x) + weight)
    square = ((x**2).sum(axis=0) + weight * (mean**2 + deviation**2)) / (len(x) + weight)
    return pooled, np.sqrt(square - pooled**2)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A checkpoint that has learned nothing, for the tests that do not ask what it says."""
    torch.manual_seed(0)
    features = FeatureSettings()
    network = EmotionCNN.for_features(features, n_classes=8).eval()
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_checkpoint(path, Checkpoint(network, list(EMOTIONS)))
    return path


@pytest.fixture(scope="session")
def bucket(tmp_path_factory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder, and the environment in which it is s3://calls."""
    folder = tmp_path_factory.mktemp("s3") / "calls"
    folder.mkdir()
    with serve(folder.parent) as environment:
        yield folder, environment
