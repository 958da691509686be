"""Train a model on RAVDESS and measure it on the clips that it has not seen."""

import argparse
import sys
from pathlib import Path

import matplotlib

from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table
from speech_emotion.corpora.splits import ACTOR_FOLDS, actor_split, hold_out_validation, stratified_split
from speech_emotion.evaluation.metrics import accuracy, prediction_table, uar
from speech_emotion.evaluation.report import write_report, write_results
from speech_emotion.inference.predictor import Predictor, choose_device
from speech_emotion.models.checkpoint import load_checkpoint, save_checkpoint
from speech_emotion.models.mfcc import FeatureSettings
from speech_emotion.training.loop import SCHEDULES, TrainingSettings, train

HERE = Path(__file__).parent
CHECKPOINTS = {(): HERE / "model.pt", ("sad",): HERE / "model_sad_removed.pt"}  # by the emotions left out

EPILOG = """\
python3 train.py                         model.pt, all eight emotions
python3 train.py --drop sad              model_sad_removed.pt
python3 train.py --split 1               another split; with --out, a checkpoint of it
python3 train.py --fold 0                speaker-independent: five folds of actors, 0 to 4
python3 train.py check                   both checkpoints over their own test clips
python3 train.py robustness              model.pt on noisy, quiet, coded, reverberant test clips
python3 train.py report                  the tables and pictures of the README, from results/predictions
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    defaults = TrainingSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), default="train", help="(default: train)")
    parser.add_argument("--data", default=HERE / "data", metavar="FOLDER", help="where RAVDESS is (default: data)")
    parser.add_argument("--drop", action="append", choices=EMOTIONS, default=[], help="leave an emotion out")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--split", type=int, default=0, metavar="N", help="random_state of the 80/20 split (default: 0)")
    split.add_argument("--fold", type=int, choices=range(len(ACTOR_FOLDS)), help="hold out a fold of actors instead")
    parser.add_argument("--out", metavar="FILE", help="checkpoint to write (default, for split 0 only: see below)")
    parser.add_argument("--results", default=HERE / "results", metavar="FOLDER", help="(default: results)")
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help=f"(default: {defaults.epochs})")
    parser.add_argument(
        "--schedule", choices=SCHEDULES, default=defaults.schedule, help=f"(default: {defaults.schedule})"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of weights, order, augmentation (default: 0)")
    parser.add_argument("--shuffle-labels", action="store_true", help="control: train on permuted labels, reach chance")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        COMMANDS[options.command](options)
    except (OSError, ValueError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


def report(options: argparse.Namespace) -> None:
    matplotlib.use("Agg")  # files only, also where there is no display
    write_report(options.results, HERE)


def check(options: argparse.Namespace) -> None:
    """What the committed checkpoints reach on the clips that they name as their test."""
    table = clip_table(options.data)
    for file in CHECKPOINTS.values():
        checkpoint = load_checkpoint(file)
        test = table[table["clip"].isin(checkpoint.split["test"])]
        predictions = prediction_table(test, Predictor(checkpoint, options.device).predict(test["path"]))
        print(f"{file.name}: accuracy {accuracy(predictions):.4f}, UAR {uar(predictions):.4f} on {len(test)} clips")


def robustness(options: argparse.Namespace) -> None:
    """model.pt on its test clips as other people might have recorded them."""
    from speech_emotion.evaluation.robustness import measure  # its codecs are loaded for nothing else

    table = clip_table(options.data)
    checkpoint = load_checkpoint(CHECKPOINTS[()])
    is_test = table["clip"].isin(checkpoint.split["test"])
    babblers = table[~is_test & (table["channel"] == "speech")].sample(8, random_state=0)
    accuracies = measure(Predictor(checkpoint, options.device), table[is_test], babblers)
    accuracies.to_csv(Path(options.results, "robustness.csv"), index=False, float_format="%.4f")
    print(accuracies.to_string(index=False))


def run(options: argparse.Namespace) -> None:
    """One split: train, classify the held-out clips as eval.py would, and write down what came out."""
    table = clip_table(options.data)
    for problem in check_table(table):
        print(f"warning: {problem}; the splits differ from the published ones", file=sys.stderr)
    labels = [emotion for emotion in EMOTIONS if emotion not in options.drop]
    table = table[table["emotion"].isin(labels)]
    if options.fold is None:
        name = f"random{len(labels)}-split{options.split}"
        rest, test = stratified_split(table, options.split)
    else:
        name = f"speaker{len(labels)}-fold{options.fold}"
        rest, test = actor_split(table, ACTOR_FOLDS[options.fold])
    training, validation = hold_out_validation(rest, seed=0)
    if options.shuffle_labels:
        name += "-shuffled"
        training = training.assign(emotion=training["emotion"].sample(frac=1, random_state=options.seed).to_numpy())
    if options.schedule != TrainingSettings().schedule:
        name += f"-{options.schedule}"
    print(f"{name}: {len(training)} clips train, {len(validation)} validate, {len(test)} test")

    settings = TrainingSettings(epochs=options.epochs, schedule=options.schedule, seed=options.seed)
    device = choose_device(options.device)
    checkpoint, history = train(training, validation, labels, settings, FeatureSettings(), device, HERE / ".cache")
    checkpoint.split = {"name": name, "test": sorted(test["clip"])}
    predictions = prediction_table(test, Predictor(checkpoint, options.device).predict(test["path"]))
    checkpoint.metrics = {"accuracy": accuracy(predictions), "uar": uar(predictions)}
    print(f"held-out clips: accuracy {accuracy(predictions):.4f}, UAR {uar(predictions):.4f}")

    parts = {"training": training, "validation": validation, "test": test}
    write_results(options.results, name, parts, history, predictions)
    is_default = name in ("random8-split0", "random7-split0")
    if out := options.out or (CHECKPOINTS.get(tuple(options.drop)) if is_default else None):
        save_checkpoint(out, checkpoint)
        print(f"wrote {out}")


COMMANDS = {"train": run, "check": check, "robustness": robustness, "report": report}

if __name__ == "__main__":
    sys.exit(main())
