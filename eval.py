"""Classify the emotion of recordings: python3 eval.py [PATH ...] reads them and writes out.csv."""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Classify the emotion of speech recordings.",
        epilog="Exit status: 0 every recording has an emotion, 1 some could not be read, 2 wrong usage.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", default=["eval_data"], help="recordings or folders (default: eval_data)"
    )
    parser.add_argument("--model", default=HERE / "model.pt", metavar="FILE", help="checkpoint (default: model.pt)")
    parser.add_argument("--out", default="out.csv", metavar="FILE", help="table to write (default: out.csv)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--batch-size", type=positive, default=64, metavar="N", help="recordings at once (default: 64)")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    from speech_emotion.checkpoint import CheckpointError  # torch is not paid for by --help
    from speech_emotion.inference import Predictor, find_recordings

    try:
        recordings = find_recordings(options.paths)
        predictor = Predictor(options.model, options.device)
        predictions = classify(recordings, predictor, options)
    except (OSError, ValueError, CheckpointError) as error:
        print(f"eval.py: {error}", file=sys.stderr)
        return 2
    print_summary(predictions, predictor.labels, options.out)
    return 1 if any(prediction.error for prediction in predictions) else 0


def classify(recordings, predictor, options) -> list:
    """Write a row for each recording as soon as it is classified."""
    from tqdm import tqdm

    predictions = []
    with open(options.out, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["url", "emotion", "confidence", *predictor.labels, "error"])
        with tqdm(total=len(recordings), unit="file") as progress:
            for prediction in predictor.predict(recordings, options.batch_size):
                numbers = [""] * (1 + len(predictor.labels))
                if prediction.probabilities:
                    numbers = [f"{p:.4f}" for p in (prediction.confidence, *prediction.probabilities.values())]
                table.writerow([prediction.path, prediction.emotion, *numbers, prediction.error])
                predictions.append(prediction)
                progress.update()
    return predictions


def print_summary(predictions, labels, out) -> None:
    confidences = defaultdict(list)
    for prediction in predictions:
        if not prediction.error:
            confidences[prediction.emotion].append(prediction.confidence)
    failed = [prediction for prediction in predictions if prediction.error]
    print(f"{len(predictions)} recordings, {len(failed)} without an emotion; the table is in {out}")
    for label in sorted(confidences, key=lambda label: -len(confidences[label])):
        values = confidences[label]
        print(f"  {label:<10} {len(values):5d}   mean confidence {sum(values) / len(values):.2f}")
    for prediction in failed[:10]:
        print(f"  {prediction.error}")
    if len(failed) > 10:
        print(f"  and {len(failed) - 10} more, see the column `error`")
    print_truth(predictions, labels)


def print_truth(predictions, labels) -> None:
    """RAVDESS names say the emotion: report how many were right, if there are any such names."""
    from speech_emotion.ravdess import parse_name

    pairs = []
    for prediction in predictions:
        try:
            truth = parse_name(prediction.path).emotion
        except ValueError:
            continue
        if not prediction.error and truth in labels:
            pairs.append((truth, prediction.emotion))
    if not pairs:
        return
    from sklearn.metrics import classification_report, confusion_matrix

    truth, predicted = zip(*pairs, strict=True)
    present = [label for label in labels if label in {*truth, *predicted}]
    correct = sum(a == b for a, b in pairs)
    print(f"\n{len(pairs)} recordings have RAVDESS names: accuracy {correct / len(pairs):.4f}\n")
    print(classification_report(truth, predicted, labels=present, digits=3, zero_division=0))
    print("confusion matrix, a row for each true emotion:")
    width = max(map(len, present)) + 1
    print(" " * width + "".join(f"{label[:7]:>8}" for label in present))
    for label, row in zip(present, confusion_matrix(truth, predicted, labels=present), strict=True):
        print(f"{label:<{width}}" + "".join(f"{count:8d}" for count in row))


if __name__ == "__main__":
    sys.exit(main())
