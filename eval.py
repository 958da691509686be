"""Classify the emotion of recordings: python3 eval.py [PATH ...] reads them and writes out.csv."""

import argparse
import logging
import re
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
ERRORS_SHOWN = 10


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Classify the emotion of speech recordings.",
        epilog="Exit status: 0 every recording has an emotion, 1 some have an error instead, 2 wrong usage or a full "
        "disk, 130 stopped with Ctrl-C.",
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        default=["eval_data"],
        help="recordings or folders, s3:// and gs:// among them (default: eval_data)",
    )
    parser.add_argument("--model", default=HERE / "model.pt", metavar="FILE", help="checkpoint (default: model.pt)")
    parser.add_argument(
        "--out", default="out.csv", metavar="FILE", help="table to write, .csv or .parquet (default: out.csv)"
    )
    parser.add_argument("--timeline", metavar="FILE", help="table of the 3 s windows of every recording")
    parser.add_argument("--resume", action="store_true", help="go on from the .part files of a run that was stopped")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="windows at once (default: 16)")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="threads, with --ray processes (default: one for each core)"
    )
    parser.add_argument(
        "--ray",
        type=address,
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="run on a Ray cluster: auto, HOST:PORT, ray://HOST:PORT; without ADDRESS, on this machine alone",
    )
    parser.add_argument("--debug", action="store_true", help="show where errors come from")
    options = parser.parse_args(arguments)
    if options.timeline and Path(options.timeline).absolute() == Path(options.out).absolute():
        parser.error("--timeline and --out are the same file")
    return options


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def address(text: str) -> str:
    if not re.fullmatch(r"local|auto|(ray://)?[^/]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a cluster; a PATH goes before --ray")
    return text


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")  # not every name is UTF-8
    try:
        return classify(options)
    except KeyboardInterrupt:
        print(f"\neval.py: stopped; --resume goes on from {options.out}.part", file=sys.stderr)
        return 130
    except Exception as error:
        logging.debug("stopped", exc_info=True)
        print(f"eval.py: {str(error) or type(error).__name__}", file=sys.stderr)
        return 2


def classify(options: argparse.Namespace) -> int:
    """Write a row for each recording as soon as it is classified; returns the exit status."""
    from tqdm import tqdm  # --help pays neither for this nor for torch

    from speech_emotion.inference import Predictor
    from speech_emotion.listing import find_recordings
    from speech_emotion.table import Table, check_space

    if options.ray:
        from speech_emotion.cluster import ClusterPredictor  # says that Ray is missing before a long listing

    recordings, n_others = find_recordings(options.paths)
    if options.ray:
        predictor = ClusterPredictor(options.model, options.device, options.ray)
    else:
        predictor = Predictor(options.model, options.device)
    numbers = ["emotion", "confidence", *predictor.labels]
    with ExitStack() as stack:
        table = stack.enter_context(Table(options.out, ["url", *numbers, "error"], options.resume))
        left = [path for path in recordings if path not in table]
        tables = [table]
        if options.timeline:
            columns = ["url", "start", "end", *numbers]
            timeline = Table(options.timeline, columns, options.resume, only=table, begun=len(left) < len(recordings))
            tables.append(stack.enter_context(timeline))
        check_space(options.out, len(left))
        progress = stack.enter_context(tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file"))
        for row, windows in predictor.predict_windows(left, options.batch_size, options.workers):
            if options.timeline:
                timeline.write(windows)
            table.write([row])  # last: with this row, a resumed run takes the recording as done
            progress.update()
        for table in tables:
            table.finish()
    return print_summary(options.out, predictor.labels, n_others)


def print_summary(out: str, labels: list[str], n_others: int) -> int:
    """What a finished table says; returns 1 when a recording has an error, else 0."""
    from speech_emotion.reading import printable
    from speech_emotion.table import read_table

    counts, confidences, pairs, errors = Counter(), Counter(), Counter(), []
    for row in read_table(out):
        emotion, error = row["emotion"], row["error"]
        counts[emotion] += 1
        if not error:
            confidences[emotion] += float(row["confidence"])
            pairs[true_emotion(row["url"]), emotion] += 1
        elif len(errors) < ERRORS_SHOWN:
            errors.append(error if error.startswith("cannot read") else f"{printable(row['url'])}: {error}")
    n_failed = counts.pop("", 0)
    print(f"{counts.total() + n_failed} recordings, {n_failed} without an emotion; the table is in {out}")
    if n_others:
        print(f"  {n_others} other files in the folders were left alone")
    for label, count in counts.most_common():
        print(f"  {label:<10} {count:5d}   mean confidence {confidences[label] / count:.2f}")
    for error in errors:
        print(f"  {error}")
    if n_failed > len(errors):
        print(f"  and {n_failed - len(errors)} more, see the column `error`")
    print_truth(Counter({pair: count for pair, count in pairs.items() if pair[0] in labels}), labels)
    return 1 if n_failed else 0


def true_emotion(url: str) -> str | None:
    """What a RAVDESS name says."""
    from speech_emotion.ravdess import parse_name

    try:
        return parse_name(url).emotion
    except ValueError:
        return None


def print_truth(pairs: Counter, labels: list[str]) -> None:
    """How many were right, by the counts of (true, predicted) emotions; nothing where there are none."""
    if not pairs:
        return
    from sklearn.metrics import classification_report, confusion_matrix

    truth, predicted = zip(*pairs.elements(), strict=True)
    present = [label for label in labels if label in {*truth, *predicted}]
    correct = sum(count for (a, b), count in pairs.items() if a == b)
    print(f"\n{len(truth)} recordings have RAVDESS names: accuracy {correct / len(truth):.4f}\n")
    print(classification_report(truth, predicted, labels=present, digits=3, zero_division=0))
    print("confusion matrix, a row for each true emotion:")
    width = max(map(len, present)) + 1
    print(" " * width + "".join(f"{label[:7]:>8}" for label in present))
    for label, row in zip(present, confusion_matrix(truth, predicted, labels=present), strict=True):
        print(f"{label:<{width}}" + "".join(f"{count:8d}" for count in row))


if __name__ == "__main__":
    sys.exit(main())
