"""How fast eval.py is: against the loop that most projects use, and where its time goes, at the start and after.

    python3 benchmarks/eval_speed.py                 # the 1440 speech clips under data/
    python3 benchmarks/eval_speed.py --clips 200

The loop reads one file at a time with librosa.load at 22.05 kHz, takes librosa's MFCC and asks the same network. Both
are processes of their own, timed from start to end, in turns on the same machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY / "data" / "speech_actors", metavar="FOLDER")
    parser.add_argument("--clips", type=int, metavar="N", help="take the first N only")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the best of N counts (default: 3)")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start-up", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        naive_loop(options.loop)
        return
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
    recordings = folder / "recordings"
    recordings.mkdir()
    for number, clip in enumerate(clips):  # neutral names: the report on RAVDESS names is not part of the comparison
        (recordings / f"{number:05d}{clip.suffix}").symlink_to(clip.resolve())
    save_untrained_model(folder / "model.pt")
    evaluate = [sys.executable, REPOSITORY / "eval.py", "--model", "model.pt"]
    commands = {
        "the usual loop": [sys.executable, __file__, "--loop", recordings],
        "eval.py": [*evaluate, recordings],
        "eval.py, one file": [*evaluate, next(recordings.iterdir())],
        "import torch": [sys.executable, "-c", "import torch"],
        "eval.py --help": [*evaluate, "--help"],
    }
    seconds = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, command in commands.items():
            seconds[name] = min(seconds[name], timed(command, folder))
    print(f"{len(clips)} clips, {os.cpu_count()} cores, start-up included, best of {rounds}:")
    for name, value in seconds.items():
        print(f"  {name:<20} {value:7.2f} s")
    print(f"eval.py is {seconds['the usual loop'] / seconds['eval.py']:.1f} times faster than the loop")


def timed(command: list, folder: Path) -> float:
    start = perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return perf_counter() - start


def save_untrained_model(path: Path) -> None:
    from speech_emotion.corpora.ravdess import EMOTIONS
    from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
    from speech_emotion.models.cnn import EmotionCNN, ModelSettings
    from speech_emotion.models.mfcc import FeatureSettings

    features = FeatureSettings()
    network = EmotionCNN(ModelSettings.for_features(features, len(EMOTIONS)), features)
    save_checkpoint(path, Checkpoint(network, list(EMOTIONS)))


def naive_loop(folder: Path) -> None:
    import csv

    import librosa
    import torch

    from speech_emotion.models.cnn import EmotionCNN, ModelSettings
    from speech_emotion.models.mfcc import FeatureSettings

    settings = FeatureSettings()
    network = EmotionCNN(ModelSettings.for_features(settings, 8), settings).eval()
    with open("loop.csv", "w", newline="") as file, torch.inference_mode():
        for path in sorted(folder.iterdir()):
            samples, rate = librosa.load(path)
            mfcc = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=settings.n_mfcc)
            mfcc = librosa.util.fix_length(mfcc, size=settings.n_frames)
            probabilities = network(torch.from_numpy(mfcc)[None]).softmax(dim=1)[0]
            csv.writer(file).writerow([path, int(probabilities.argmax()), *probabilities.tolist()])


def print_start_up(rounds: int) -> None:
    """The CPU time of each step until the first row; unlike the clock's, it hardly depends on what else runs."""
    command = [sys.executable, __file__, "--start-up", REPOSITORY / "eval_data" / "even_male.flac"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    best = min(runs, key=lambda run: sum(run.values()))
    print(f"start-up, CPU time of one process, best of {rounds}:")
    for step, value in best.items():
        print(f"  {step:<20} {value:7.3f} s   {value / best['import torch']:6.1%} of import torch")


def start_up(recording: Path) -> None:
    marks = [("", process_time())]
    import torch  # noqa: F401

    marks.append(("import torch", process_time()))
    import tqdm  # noqa: F401

    import eval  # noqa: F401
    from speech_emotion.audio import listing  # noqa: F401
    from speech_emotion.inference import table  # noqa: F401
    from speech_emotion.inference.predictor import Predictor

    marks.append(("import the rest", process_time()))
    predictor = Predictor(REPOSITORY / "model.pt", "cpu")
    marks.append(("load the model", process_time()))
    list(predictor.predict([recording]))
    marks.append(("first recording", process_time()))
    print(json.dumps({step: end - begin for (_, begin), (step, end) in pairwise(marks)}))


def print_shares(clips: list[Path]) -> None:
    """The time of each step, one after the other in one thread."""
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
                windows = [next(iter(RecordingWindows(piece, predictor.features)))[1] for piece in pieces]
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
