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
PICTURES = (".png", ".pdf", ".svg")
CONFIDENCE_BINS = 20


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
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="picture (.png, .pdf, .svg) of the emotions found, or with --timeline and one recording, of its windows",
    )
    parser.add_argument(
        "--adapt",
        nargs="?",
        const="all",
        choices=["all", "folder"],
        help="judge recordings by their own statistics, without labels: all of them as one voice, or each folder as "
        "its own (for model_any_voice.pt; from five recordings on, of several emotions)",
    )
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
        help="run on a Ray cluster: auto or HOST:PORT; without ADDRESS, on this machine alone",
    )
    parser.add_argument("--debug", action="store_true", help="show where errors come from")
    options = parser.parse_args(arguments)
    files = [Path(file).absolute() for file in (options.out, options.timeline, options.plot) if file]
    if len(set(files)) < len(files):
        parser.error("two of --out, --timeline and --plot are the same file")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        parser.error(f"--plot writes {', '.join(PICTURES)}, not {options.plot}")
    if options.adapt and options.ray:
        parser.error("--adapt listens to all recordings on this machine first, and goes without --ray")
    return options


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def address(text: str) -> str:
    if not re.fullmatch(r"local|auto|[^/]+:\d+", text):
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

    from speech_emotion.audio.listing import find_recordings
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.inference.rows import columns, window_columns
    from speech_emotion.inference.table import Table, check_space

    # A missing Ray or a picture that cannot be written is said before a long listing.
    if options.ray:
        from speech_emotion.inference.cluster import ClusterPredictor

    if options.plot:
        from speech_emotion.evaluation.plots import check_picture

        check_picture(options.plot)
    recordings, n_others = find_recordings(options.paths)
    if options.ray:
        predictor = ClusterPredictor(options.model, options.device, options.ray)
    else:
        predictor = Predictor(options.model, options.device)
    adaptation = None
    if options.adapt:
        from speech_emotion.inference.adaptation import GROUPS, Adaptation

        # Of all recordings, also those that a resumed run has classified: so it ends with the same table.
        adaptation = Adaptation(
            predictor, recordings, GROUPS[options.adapt], batch_size=options.batch_size, workers=options.workers
        )
    with ExitStack() as stack:
        table = stack.enter_context(Table(options.out, columns(predictor.labels), options.resume))
        left = [path for path in recordings if path not in table]
        tables = [table]
        if options.timeline:
            of_windows = window_columns(predictor.labels)
            timeline = Table(
                options.timeline, of_windows, options.resume, only=table, begun=len(left) < len(recordings)
            )
            tables.append(stack.enter_context(timeline))
        check_space(options.out, len(left))
        progress = stack.enter_context(tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file"))
        by_statistics = {"statistics": adaptation} if adaptation else {}
        for row, windows in predictor.predict_windows(left, options.batch_size, options.workers, **by_statistics):
            if options.timeline:
                timeline.write(windows)
            table.write([row])  # last: with this row, a resumed run takes the recording as done
            progress.update()
        for table in tables:
            table.finish()
    if adaptation:
        print(adaptation)
    return summarise(options, predictor.labels, n_others)


def summarise(options: argparse.Namespace, labels: list[str], n_others: int) -> int:
    """Print, and draw, what a finished table says; returns 1 when a recording has an error, else 0."""
    from speech_emotion.inference.rows import error_sentence
    from speech_emotion.inference.table import read_table

    counts, confidences, pairs, errors = Counter(), Counter(), Counter(), []
    bins = {label: [0] * CONFIDENCE_BINS for label in labels}
    for row in read_table(options.out):
        emotion = row["emotion"]
        counts[emotion] += 1
        if not row["error"]:
            confidence = float(row["confidence"])
            confidences[emotion] += confidence
            bins[emotion][min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1
            pairs[true_emotion(row["url"]), emotion] += 1
        elif len(errors) < ERRORS_SHOWN:
            errors.append(error_sentence(row))
    n_failed = counts.pop("", 0)
    print(f"{counts.total() + n_failed} recordings, {n_failed} without an emotion; the table is in {options.out}")
    if n_others:
        print(f"  {n_others} other files in the folders were left alone")
    for label, count in counts.most_common():
        print(f"  {label:<10} {count:5d}   mean confidence {confidences[label] / count:.2f}")
    for error in errors:
        print(f"  {error}")
    if n_failed > len(errors):
        print(f"  and {n_failed - len(errors)} more, see the column `error`")
    pairs = Counter({pair: count for pair, count in pairs.items() if pair[0] in labels})
    print_truth(pairs, labels)
    if options.plot:
        draw(options, bins, n_failed, pairs)
    return 1 if n_failed else 0


def true_emotion(url: str) -> str | None:
    """What a RAVDESS name says."""
    from speech_emotion.corpora.ravdess import parse_name

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


def draw(options: argparse.Namespace, bins: dict[str, list[int]], n_failed: int, pairs: Counter) -> None:
    """One recording with its timeline over time, else how often each emotion and confidence was given."""
    from speech_emotion.evaluation import plots
    from speech_emotion.inference.table import read_table

    plots.use_style()
    labels = list(bins)
    if options.timeline and n_failed == 0 and sum(map(sum, bins.values())) == 1:
        figure = plots.Figure(figsize=(8, 3.6), layout="constrained")
        ax = figure.subplots()
        mesh = plots.plot_timeline(list(read_table(options.timeline)), labels, ax)
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        figure.colorbar(mesh, label="probability")
    else:
        confusion = [[pairs[truth, emotion] for emotion in labels] for truth in labels] if pairs else None
        figure = plots.plot_folder(bins, n_failed, confusion)
    plots.save_picture(figure, options.plot)
    print(f"the picture is in {options.plot}")


if __name__ == "__main__":
    sys.exit(main())
