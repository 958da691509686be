"""Classify the emotion of recordings: python3 eval.py [PATH ...] reads them and writes out.csv."""

import argparse
import logging
import os
import re
import sys
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from speech_emotion.commands.options import Parser, checkpoint, positive
from speech_emotion.terminal import program, say

STANDARD_INPUT = "-"
PICTURES = (".png", ".pdf", ".svg")
STRANGERS = (
    "{} was trained on the 24 speakers of RAVDESS only; --model model_any_voice.pt is more accurate for the speech of "
    "others, but not for song without --adapt"
)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description="Classify the emotion of speech recordings.",
        epilog="Exit status: 0 every recording has an emotion, 1 some have an error instead, 2 wrong usage or a full "
        "disk, 130 stopped with Ctrl-C, 143 with SIGTERM.",
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="recordings or folders, also s3:// and gs://, or - for one recording from standard input "
        "(default: those in --labels, else eval_data)",
    )
    parser.add_argument(
        "--model", type=checkpoint, default="model.pt", metavar="FILE", help="checkpoint (default: model.pt)"
    )
    parser.add_argument(
        "--out", default="out.csv", metavar="FILE", help="table to write, .csv, .jsonl or .parquet (default: out.csv)"
    )
    parser.add_argument(
        "--timeline",
        metavar="FILE",
        help="table of the stretches of speech in every recording; for one recording also .TextGrid, .srt, .vtt or "
        ".txt (Audacity)",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="picture (.png, .pdf, .svg) of the emotions found; over time with --timeline and a single recording",
    )
    parser.add_argument(
        "--adapt",
        nargs="?",
        const="all",
        choices=["all", "folder"],
        help="normalise by the recordings' own mean and deviation, without labels: all of them as one voice, or each "
        "folder separately (for model_any_voice.pt, and many recordings with several emotions)",
    )
    parser.add_argument(
        "--channels",
        choices=["mix", "each"],
        default="mix",
        help="mix the channels of a recording (default), or classify each separately, such as two microphones",
    )
    parser.add_argument(
        "--track", type=positive, metavar="N", help="audio track to use, from 1 (default: FFmpeg's choice)"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="CSV table of path, emotion and, optionally, speaker: test the model on it",
    )
    parser.add_argument(
        "--map",
        action="extend",
        nargs="+",
        default=[],
        metavar="LABEL=LABEL",
        help="count one label as another, such as calm=neutral, when the model is tested",
    )
    speech = parser.add_mutually_exclusive_group()
    speech.add_argument(
        "--speech-only",
        action="store_true",
        default=None,
        help="leave out music, noise and empty rooms (default for model_any_voice.pt)",
    )
    speech.add_argument(
        "--all-sounds",
        dest="speech_only",
        action="store_false",
        default=None,
        help="classify these as well (default for the other models)",
    )
    parser.add_argument("--resume", action="store_true", help="resume a run that was stopped, from its .part files")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="windows per batch (default: 16)")
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
    files = [os.path.realpath(file) for file in (options.out, options.timeline, options.plot) if file]
    if len(set(files)) < len(files):
        parser.error("two of --out, --timeline and --plot are the same file")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        parser.error(f"--plot writes {', '.join(PICTURES)}, not {options.plot}")
    if STANDARD_INPUT in options.paths and (len(options.paths) > 1 or options.resume or options.ray):
        parser.error("- (standard input) cannot be combined with other recordings, --resume or --ray")
    if options.labels and options.channels == "each":
        parser.error("--labels gives a recording one emotion; leave out --channels each")
    return options


def address(text: str) -> str:
    if not re.fullmatch(r"local|auto|[^/]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a cluster; a PATH goes before --ray")
    return text


def main(arguments: list[str] | None = None) -> int:
    with program("eval.py") as ending:
        options = parse_arguments(arguments)
        logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
        ending.when_stopped = partial(how_to_resume, options.out)
        if options.paths != [STANDARD_INPUT]:
            ending.status = classify(options)
        else:
            with TemporaryDirectory() as folder:
                options.paths = [Path(folder) / "recording"]
                with options.paths[0].open("wb") as file:
                    copyfileobj(sys.stdin.buffer, file)
                ending.status = classify(options, name="stdin")
    return ending.status


def how_to_resume(out: str) -> str:
    return f"--resume continues from {out}.part" if Path(f"{os.path.realpath(out)}.part").exists() else ""


def classify(options: argparse.Namespace, name: str | None = None) -> int:
    """Classify the recordings, write the tables and print a summary; returns the exit status."""
    from speech_emotion.audio.listing import find_recordings  # --help pays neither for these nor for torch
    from speech_emotion.commands.summary import FileNotes, Summary
    from speech_emotion.evaluation.truth import Judged, LabelTable, RavdessNames
    from speech_emotion.inference.batch_run import load_predictor, write_tables

    check_outputs(options)  # what is missing or cannot be written is said before a long listing
    truth = LabelTable(options.labels, must_exist=not options.paths) if options.labels else RavdessNames()
    recordings, n_others = find_recordings(options.paths or truth.paths or ["eval_data"])
    check_recordings(options, recordings)
    predictor = load_predictor(options)
    judged = Judged(truth, predictor.labels, options.map)
    if options.labels and (warning := judged.check(recordings)):
        say(warning, is_error=True)
    summary = Summary(options.out, predictor.labels, judged, FileNotes(options.channels, options.track, n_others))
    stretches = write_tables(options, recordings, predictor, summary.add, name)
    say(summary)
    if not predictor.network.takes_statistics and any(RavdessNames().of(path) is None for path in recordings):
        say(STRANGERS.format(options.model))
    if options.plot:
        summary.draw(options.plot, stretches)
        say(f"the picture is in {options.plot}")
    return 1 if summary.n_failed or truth.absence else 0


def check_outputs(options: argparse.Namespace) -> None:
    """Raises ImportError listing all missing packages, OSError and ValueError for outputs that cannot be written."""
    from speech_emotion.inference.formats import format_of, is_track, package_of
    from speech_emotion.inference.rows import columns
    from speech_emotion.inference.table import output_path
    from speech_emotion.optional import check_installed

    needs = {file: package for file in filter(None, (options.out, options.timeline)) if (package := package_of(file))}
    check_installed(needs | ({"--ray": "ray"} if options.ray else {}))
    for file in outputs_of(options):
        output_path(file)
    format_of(options.out, columns([]))
    if options.timeline:
        is_track(options.timeline)
    if options.ray:
        import speech_emotion.inference.cluster  # noqa: F401
    if options.plot:
        from speech_emotion.evaluation.plots import check_picture

        check_picture(options.plot)


def check_recordings(options: argparse.Namespace, recordings: list[str]) -> None:
    """Raises ValueError for too many recordings, FileExistsError for an output that would overwrite an input."""
    from speech_emotion.inference.formats import is_track
    from speech_emotion.inference.table import check_not_read

    if len(recordings) > 1 and options.timeline and is_track(options.timeline):
        raise ValueError(f"{options.timeline} can only hold one recording, not {len(recordings)}; use a .csv")
    inputs = [*filter(None, (options.model, options.labels)), *recordings]
    for file in outputs_of(options):
        check_not_read(file, inputs)


def outputs_of(options: argparse.Namespace) -> list[str]:
    return [file for file in (options.out, options.timeline, options.plot) if file]
