"""The speed of eval.py against common alternatives, and where its time and memory go.

    python3 -m research.speed                 # the 1440 speech clips under data/
    python3 -m research.speed --clips 200

The usual loop reads one file at a time with librosa.load at 22.05 kHz and classifies it with a small network (32 MFCC,
14 thousand weights), or in the second row with the network of model.pt. For recordings with RAVDESS's names, eval.py
also reports how many answers are right. The pipeline is that of transformers, with a randomly initialised
wav2vec2-base, one file at a time. All run as separate processes, timed from start to end, in turns on the same machine;
the pipeline and the model compared with it use one thread and fewer clips. A run with all clips replaces the rows of
this machine in results/speed.csv.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

import pandas as pd
import soundfile

from research import REPOSITORY

PIPELINE_CLIPS = 200
N_CLIPS = 1440  # of RAVDESS's speech
SPEED = REPOSITORY / "results" / "speed.csv"
# A small process starts each command, because on Linux a process begins with the peak of the one that started it.
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY / "data" / "speech_actors", metavar="FOLDER")
    parser.add_argument("--clips", type=int, metavar="N", help="take the first N only")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="take the best of N rounds (default: 3)")
    parser.add_argument("--start-up", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start_up:
        start_up(options.start_up)
        return
    clips = sorted(path for path in options.data.rglob("*") if path.suffix in (".wav", ".flac"))[: options.clips]
    if not clips:
        parser.error(f"there are no clips under {options.data}")
    with tempfile.TemporaryDirectory() as folder:
        compare(clips, Path(folder), options.rounds)
    print_shares(clips[:200])
    print_start_up(options.rounds)


def compare(clips: list[Path], folder: Path, rounds: int) -> None:
    """Run all commands in turns; ratios are of wall-clock time per clip, start-up included."""
    flac, wav, named_flac, named_wav, some = (
        folder / name for name in ("flac", "wav", "named_flac", "named_wav", "some")
    )
    for recordings in (flac, wav, named_flac, named_wav, some):
        recordings.mkdir()
    for number, clip in enumerate(clips):  # other names, so that eval.py does not report on RAVDESS
        (flac / f"{number:05d}{clip.suffix}").symlink_to(clip.resolve())
        (named_flac / clip.name).symlink_to(clip.resolve())
        samples, rate = soundfile.read(clip, dtype="int16")
        soundfile.write(wav / f"{number:05d}.wav", samples, rate)
        (named_wav / f"{clip.stem}.wav").symlink_to(wav / f"{number:05d}.wav")
        if number < PIPELINE_CLIPS:
            (some / f"{number:05d}{clip.suffix}").symlink_to(clip.resolve())
    save_untrained_model(folder / "model.pt")
    evaluate, loop = (
        [sys.executable, REPOSITORY / "eval.py"],
        [sys.executable, REPOSITORY / "research" / "usual_loops.py"],
    )
    cnn, any_voice = [*evaluate, "--model", folder / "model.pt"], [*evaluate, "--model", "model_any_voice.pt"]
    n_some, one = min(len(clips), PIPELINE_CLIPS), ["env", "OMP_NUM_THREADS=1"]
    rows = {
        "the usual loop": (len(clips), [*loop, "small", flac]),
        "the loop with model.pt's network": (len(clips), [*loop, "cnn", flac]),
        "eval.py": (len(clips), [*cnn, flac]),
        "eval.py, RAVDESS's names": (len(clips), [*cnn, named_flac]),
        "the usual loop, 16-bit WAV": (len(clips), [*loop, "small", wav]),
        "eval.py, 16-bit WAV": (len(clips), [*cnn, wav]),
        "eval.py, 16-bit WAV, RAVDESS's names": (len(clips), [*cnn, named_wav]),
        "transformers' pipeline, one thread": (n_some, [*one, *loop, "pipeline", some]),
        "eval.py, any voice, one thread": (n_some, [*one, *any_voice, some, "--workers", "1"]),
    }
    seconds, peaks = dict.fromkeys(rows, float("inf")), dict.fromkeys(rows, 0)
    for _ in range(rounds):
        for name, (n_clips, command) in rows.items():
            took, peak = timed(command, folder)
            seconds[name], peaks[name] = min(seconds[name], took / n_clips), max(peaks[name], peak)
    print(f"{len(clips)} clips, {os.cpu_count()} cores, start-up included, best of {rounds}:")
    for name, (n_clips, _) in rows.items():
        print(f"  {name:<37}{n_clips:5d} clips {1e3 * seconds[name]:8.2f} ms/clip   peak {peaks[name] / 1e6:5.0f} MB")
    if len(clips) == N_CLIPS:
        write_table({name: (n_clips, seconds[name], peaks[name]) for name, (n_clips, _) in rows.items()})
    _, peak = timed([sys.executable, "-c", "import torch"], folder)
    print(f"  {'import torch':<66}   peak {peak / 1e6:5.0f} MB")
    for name, against in (
        ("eval.py", "the usual loop"),
        ("eval.py, RAVDESS's names", "the usual loop"),
        ("eval.py", "the loop with model.pt's network"),
        ("eval.py, 16-bit WAV", "the usual loop, 16-bit WAV"),
        ("eval.py, 16-bit WAV, RAVDESS's names", "the usual loop, 16-bit WAV"),
        ("eval.py, any voice, one thread", "transformers' pipeline, one thread"),
    ):
        print(f"{name} is {seconds[against] / seconds[name]:.1f} times faster than {against}")


def write_table(rows: dict[str, tuple[int, float, int]]) -> None:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    table = pd.DataFrame(
        [(machine, name, n, round(1e3 * seconds, 2), round(peak / 1e6)) for name, (n, seconds, peak) in rows.items()],
        columns=["machine", "command", "clips", "ms_per_clip", "peak_mb"],
    )
    if SPEED.exists():
        others = pd.read_csv(SPEED)
        table = pd.concat([others[others["machine"] != machine], table])
    table.to_csv(SPEED, index=False)


def timed(command: list, folder: Path) -> tuple[float, float]:
    """Wall-clock seconds of a command, and its peak memory in bytes."""
    measured = [sys.executable, "-c", MEASURE, *map(str, command)]
    result = subprocess.run(measured, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    seconds, peak = map(float, result.stdout.split())
    return seconds, peak * (1 if sys.platform == "darwin" else 1024)


def save_untrained_model(path: Path) -> None:
    from speech_emotion.corpora.ravdess import EMOTIONS
    from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
    from speech_emotion.models.cnn import EmotionCNN
    from speech_emotion.models.features import FeatureSettings

    features = FeatureSettings()
    network = EmotionCNN.for_features(features, len(EMOTIONS))
    save_checkpoint(path, Checkpoint(network, list(EMOTIONS)))


def print_start_up(rounds: int) -> None:
    """CPU time of each step until the first row; it hardly depends on the load of the machine."""
    command = [sys.executable, "-m", "research.speed", "--start-up", REPOSITORY / "eval_data" / "even_male.flac"]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY).stdout)
        for _ in range(rounds)
    ]
    best = min(runs, key=lambda run: sum(run.values()))
    print(f"start-up, CPU time of one process, best of {rounds}:")
    for step, value in best.items():
        print(f"  {step:<20} {value:7.3f} s   {value / best['import torch']:6.1%} of import torch")


def start_up(recording: Path) -> None:
    marks = [("", process_time())]
    import torch  # noqa: F401

    marks.append(("import torch", process_time()))
    import tqdm  # noqa: F401

    from speech_emotion.audio import listing  # noqa: F401
    from speech_emotion.commands import classify  # noqa: F401
    from speech_emotion.inference import table  # noqa: F401
    from speech_emotion.inference.predictor import Predictor

    marks.append(("import the rest", process_time()))
    predictor = Predictor(REPOSITORY / "model.pt", "cpu")
    marks.append(("load the model", process_time()))
    list(predictor.predict([recording]))
    marks.append(("first recording", process_time()))
    print(json.dumps({step: end - begin for (_, begin), (step, end) in pairwise(marks)}))


def print_shares(clips: list[Path]) -> None:
    """The time of each step, in one thread."""
    import torch

    from speech_emotion.audio.resampling import stream_audio
    from speech_emotion.audio.windows import RecordingWindows
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.inference.table import Table

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        save_untrained_model(Path(folder, "model.pt"))
        predictor = Predictor(Path(folder, "model.pt"), "cpu")
        seconds = dict.fromkeys(("decode", "window", "features", "network", "write"), 0.0)
        with Table(Path(folder, "out.csv"), list(predictor.predict_waveform([], 48_000))) as table:
            for first in range(0, len(clips), 16):
                marks = [perf_counter()]
                pieces = [
                    list(stream_audio(path, predictor.features.sample_rate)) for path in clips[first : first + 16]
                ]
                marks.append(perf_counter())
                windows = [window for each in pieces for _, window in RecordingWindows(each.copy, predictor.features)]
                marks.append(perf_counter())
                mfcc = torch.cat([predictor.front_end(window[None]) for window in windows])
                marks.append(perf_counter())
                probabilities = predictor.probabilities(mfcc).tolist()
                marks.append(perf_counter())
                for path, numbers in zip(clips[first:], probabilities, strict=False):
                    row = dict(zip(predictor.labels, numbers, strict=True))
                    table.write([{"url": str(path), "emotion": "", "confidence": max(numbers), **row, "error": ""}])
                marks.append(perf_counter())
                for step, begin, end in zip(seconds, marks, marks[1:], strict=False):
                    seconds[step] += end - begin
    total = sum(seconds.values())
    print(f"one clip takes {1e3 * total / len(clips):.2f} ms of one core:")
    for step, value in seconds.items():
        print(f"  {step:<10} {value / total:6.1%}   {1e3 * value / len(clips):.2f} ms")


if __name__ == "__main__":
    main()
