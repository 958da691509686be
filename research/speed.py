"""The speed of eval.py against common ways to classify a folder of recordings: results/speed.csv.

    python3 -m research.speed                 # the 1440 speech clips under data/
    python3 -m research.speed --clips 200     # not written

The usual loop reads one file at a time with librosa.load at 22.05 kHz and classifies it with a small network (32 MFCC,
14 thousand weights), or in the second row with the network of model.pt. For recordings with RAVDESS's names, eval.py
also reports how many answers are right. The pipeline is that of transformers, with a randomly initialised
wav2vec2-base, one file at a time. All run as separate processes, timed from start to end, in turns on the same machine;
the pipeline and the model compared with it use one thread and fewer clips. A run with all clips replaces the rows of
this machine.
"""

import csv
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import strftime

from research import REPOSITORY, parser_of

LOOPS = ("small", "cnn", "pipeline")
PIPELINE_CLIPS = 200
N_CLIPS = 1440  # of RAVDESS's speech
# A small process starts each command, because on Linux a process begins with the peak of the one that started it.
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--clips", type=int, metavar="N", help="take the first N only")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="take the best of N rounds (default: 3)")
    parser.add_argument("--loop", nargs=2, metavar=("|".join(LOOPS), "FOLDER"), help="classify FOLDER into loop.csv")
    options = parser.parse_args()
    if options.loop:
        usual_loop(*options.loop)
        return
    folder = Path(options.data, "speech_actors")
    clips = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))[: options.clips]
    if not clips:
        parser.error(f"there are no clips under {folder}")
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(clips, Path(folder), options.rounds)
    seconds = {name: 1e3 * took for name, (_, took, _) in rows.items()}
    for name, (n, _, peak) in rows.items():
        print(f"{name:<37}{n:5d} clips {seconds[name]:8.2f} ms/clip   peak {peak / 1e6:5.0f} MB")
    for name, against in (
        ("eval.py", "the usual loop"),
        ("eval.py", "the loop with model.pt's network"),
        ("eval.py, 16-bit WAV", "the usual loop, 16-bit WAV"),
        ("eval.py, any voice, one thread", "transformers' pipeline, one thread"),
    ):
        print(f"{name} is {seconds[against] / seconds[name]:.1f} times faster than {against}")
    if len(clips) == N_CLIPS:
        write_table(options.results / "speed.csv", rows)


def measured(clips: list[Path], folder: Path, rounds: int) -> dict[str, tuple[int, float, float]]:
    """Run all commands in turns: the number of clips, seconds per clip and peak memory in bytes, start-up included."""
    import soundfile

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
    loop = [sys.executable, "-m", "research.speed", "--loop"]
    cnn = [sys.executable, REPOSITORY / "eval.py", "--model", REPOSITORY / "model.pt"]
    any_voice = [sys.executable, REPOSITORY / "eval.py", "--model", REPOSITORY / "model_any_voice.pt"]
    n_some, one = min(len(clips), PIPELINE_CLIPS), ["env", "OMP_NUM_THREADS=1"]
    commands = {
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
    rows = {name: (n, float("inf"), 0.0) for name, (n, _) in commands.items()}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for _ in range(rounds):
        for name, (n, command) in commands.items():
            result = subprocess.run(
                [sys.executable, "-c", MEASURE, *map(str, command)],
                cwd=folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if result.returncode:
                sys.exit(result.stderr)
            took, peak = map(float, result.stdout.split())
            peak *= 1 if sys.platform == "darwin" else 1024
            rows[name] = (n, min(rows[name][1], took / n), max(rows[name][2], peak))
    return rows


def write_table(path: Path, rows: dict[str, tuple[int, float, float]]) -> None:
    import pandas as pd
    import torch

    information = Path("/proc/cpuinfo")  # of Linux
    cpu = re.search("model name.*: (.*)", information.read_text()) if information.exists() else None
    machine = f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {strftime('%Y-%m')}"
    table = pd.DataFrame(
        [
            (machine, versions, name, n, round(1e3 * seconds, 2), round(peak / 1e6))
            for name, (n, seconds, peak) in rows.items()
        ],
        columns=["machine", "versions", "command", "clips", "ms_per_clip", "peak_mb"],
    )
    committed = pd.read_csv(path)
    pd.concat([committed[committed["machine"] != machine], table]).to_csv(path, index=False)


def usual_loop(kind: str, folder: str) -> None:
    """Classify the files of a folder one by one, and write loop.csv."""
    import torch

    classify = {"small": librosa_loop, "cnn": librosa_loop, "pipeline": pipeline}[kind](kind)
    with open("loop.csv", "w", newline="") as file, torch.inference_mode():
        for path in sorted(Path(folder).iterdir()):
            csv.writer(file).writerow([path, *classify(path)])


def librosa_loop(kind: str) -> Callable[[Path], list[float]]:
    import librosa
    import torch
    from torch import nn

    if kind == "cnn":
        from speech_emotion.models.cnn import EmotionCNN
        from speech_emotion.models.features import FeatureSettings

        features = FeatureSettings()
        n_mfcc, n_frames, network = features.n_mfcc, features.n_frames, EmotionCNN.for_features(features, n_classes=8)
    else:
        n_mfcc, n_frames, blocks = 32, 130, []  # 3 s in steps of 512 samples
        for n_in, n_out in ((1, 16), (16, 32), (32, 32)):
            blocks += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 8)
        network = nn.Sequential(nn.Unflatten(1, (1, n_mfcc)), *blocks, *head)
    network.eval()

    def classify(path: Path) -> list[float]:
        samples, rate = librosa.load(path)
        mfcc = librosa.util.fix_length(librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=n_mfcc), size=n_frames)
        return network(torch.from_numpy(mfcc)[None]).softmax(dim=1)[0].tolist()

    return classify


def pipeline(kind: str) -> Callable[[Path], list[float]]:
    import librosa
    import transformers

    config = transformers.Wav2Vec2Config(num_labels=8)  # the size of wav2vec2-base
    network = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    whole = transformers.AudioClassificationPipeline(
        model=network, feature_extractor=transformers.Wav2Vec2FeatureExtractor(), device="cpu"
    )

    def classify(path: Path) -> list[float]:
        samples, _ = librosa.load(path, sr=16_000)
        heard = samples[16_000 : 4 * 16_000]  # the window that eval.py uses
        return [answer["score"] for answer in whole(heard, top_k=8)]

    return classify


if __name__ == "__main__":
    main()
