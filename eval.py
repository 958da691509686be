"""Classify the emotion of recordings: python3 eval.py [PATH ...] reads them and writes out.csv."""

import argparse
import logging
import os
import re
import sys
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from speech_emotion.arguments import Parser, checkpoint, positive
from speech_emotion.terminal import program, say

STANDARD_INPUT = "-"
PICTURES = (".png", ".pdf", ".svg")
OPTIONAL = {  # what needs a package that requirements.txt lacks, that package, and the file that has it
    ".textgrid": ("praatio", "requirements-timeline.txt"),
    ".srt": ("pysubs2", "requirements-timeline.txt"),
    ".vtt": ("pysubs2", "requirements-timeline.txt"),
    ".parquet": ("pyarrow", "requirements-ray.txt"),
    "--ray": ("ray", "requirements-ray.txt"),
    "--live": ("sounddevice", "requirements-live.txt"),
}
MICROPHONE = "microphone"
ALONE = ("paths", "plot", "labels", "map", "resume", "ray", "track")  # options that --live does not go with
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
        help="picture (.png, .pdf, .svg) of the emotions found, or with --timeline and one recording, over its time",
    )
    parser.add_argument(
        "--adapt",
        nargs="?",
        const="all",
        choices=["all", "folder"],
        help="judge recordings by their own statistics, without labels: all of them as one voice, or each folder as "
        "its own (for model_any_voice.pt, and many recordings of several emotions)",
    )
    parser.add_argument(
        "--channels",
        choices=["mix", "each"],
        default="mix",
        help="mix the channels of a recording (default), or classify each of them, such as two microphones",
    )
    parser.add_argument(
        "--track", type=positive, metavar="N", help="audio track to take of several, from 1 (default: FFmpeg's choice)"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="CSV table of path, emotion, perhaps speaker: measure the model against it",
    )
    parser.add_argument(
        "--map",
        action="extend",
        nargs="+",
        default=[],
        metavar="LABEL=LABEL",
        help="count one label as another, such as calm=neutral, when the model is measured",
    )
    speech = parser.add_mutually_exclusive_group()
    speech.add_argument(
        "--speech-only",
        action="store_true",
        default=None,
        help="leave out what is music, noise or an empty room (default for model_any_voice.pt)",
    )
    speech.add_argument(
        "--all-sounds",
        dest="speech_only",
        action="store_false",
        default=None,
        help="give these an emotion as well (default for the other models)",
    )
    parser.add_argument(
        "--live",
        nargs="?",
        const=MICROPHONE,
        metavar="FILE",
        help="listen to the microphone, or play FILE in real time, and print a line for each stretch of speech as it "
        "ends; Ctrl-C ends the recording and writes its row",
    )
    parser.add_argument("--resume", action="store_true", help="resume a run that was stopped, from its .part files")
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
    files = [os.path.realpath(file) for file in (options.out, options.timeline, options.plot) if file]
    if len(set(files)) < len(files):
        parser.error("two of --out, --timeline and --plot are the same file")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        parser.error(f"--plot writes {', '.join(PICTURES)}, not {options.plot}")
    if STANDARD_INPUT in options.paths and (len(options.paths) > 1 or options.resume or options.ray):
        parser.error("- is one recording, and goes without others, --resume and --ray")
    if options.live and any(getattr(options, name) for name in ALONE):
        names = [name if name == "paths" else f"--{name}" for name in ALONE if getattr(options, name)]
        parser.error(f"--live is a recording made now, and goes without {', '.join(names)}")
    if options.labels and options.channels == "each":
        parser.error("--labels gives a recording one emotion; leave out --channels each")
    return options


def check_installed(options: argparse.Namespace) -> None:
    """Raises ImportError with all the packages that are missing, before anything is read."""
    asked = {file: Path(file).suffix.lower() for file in (options.out, options.timeline) if file}
    if options.ray:
        asked["--ray"] = "--ray"
    if options.live == MICROPHONE:
        asked["--live"] = "--live"
    needs = {name: OPTIONAL[kind] for name, kind in asked.items() if kind in OPTIONAL}
    missing = {name: need for name, need in needs.items() if find_spec(need[0]) is None}
    if missing:
        packages = ", ".join(f"{name} needs {package}" for name, (package, _) in missing.items())
        files = " ".join(f"-r {file}" for file in dict.fromkeys(file for _, file in missing.values()))
        raise ImportError(f"{packages}: pip install {files}")


def address(text: str) -> str:
    if not re.fullmatch(r"local|auto|[^/]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a cluster; a PATH goes before --ray")
    return text


def main(arguments: list[str] | None = None) -> int:
    with program("eval.py") as ending:
        options = parse_arguments(arguments)
        logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
        ending.when_stopped = partial(how_to_resume, options.out)
        if options.live:
            ending.status = classify_live(options)
        elif options.paths != [STANDARD_INPUT]:
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
    """Write a row for each recording, or the one of that name, as soon as it is classified; returns the exit status."""
    from tqdm import tqdm  # --help pays neither for this nor for torch

    from speech_emotion.audio.listing import find_recordings
    from speech_emotion.evaluation.summary import FileNotes, Summary
    from speech_emotion.evaluation.truth import Judged, LabelTable, RavdessNames
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.tables.formats import format_of, is_track
    from speech_emotion.tables.output_paths import check_not_read, output_path
    from speech_emotion.tables.rows import columns, stretch_columns
    from speech_emotion.tables.table import Table, check_space, fingerprint

    # A missing package or a file that cannot be written is said before a long listing.
    check_installed(options)
    outputs = [file for file in (options.out, options.timeline, options.plot) if file]
    for file in outputs:
        output_path(file)
    format_of(options.out, columns([]))
    is_one_recording = bool(options.timeline) and is_track(options.timeline)
    if options.ray:
        from speech_emotion.inference.cluster import ClusterPredictor

    if options.plot:
        from speech_emotion.evaluation.plots import check_picture

        check_picture(options.plot)
    truth = LabelTable(options.labels, must_exist=not options.paths) if options.labels else RavdessNames()
    recordings, n_others = find_recordings(options.paths or truth.paths or ["eval_data"])
    if is_one_recording and len(recordings) > 1:
        raise ValueError(f"{options.timeline} would hold one recording, not {len(recordings)}; a .csv holds many")
    for file in outputs:
        check_not_read(file, chain([options.model, *filter(None, [options.labels])], recordings))
    if options.ray:
        predictor = ClusterPredictor(options.model, options.device, options.ray, options.speech_only)
    else:
        predictor = Predictor(options.model, options.device, options.speech_only)
    judged = Judged(truth, predictor.labels, options.map)
    if options.labels and (warning := judged.check(recordings)):
        say(warning, is_error=True)
    # Whatever changes rows; of the recordings themselves only which they are, where others depend on that.
    settings = [predictor.digest, options.adapt, predictor.speech_only, options.channels, options.track]
    belongs_to = fingerprint(settings, recordings if options.adapt else [])
    with ExitStack() as stack:
        of_recordings = columns(predictor.labels, options.channels)
        table = stack.enter_context(Table(options.out, of_recordings, options.resume, belongs_to))
        left = [path for path in recordings if path not in table]
        timelines = []
        if options.timeline:
            of_stretches = stretch_columns(predictor.labels, options.channels)
            timeline = Table(options.timeline, of_stretches, options.resume, belongs_to, of=table)
            timelines.append(stack.enter_context(timeline))
        batches = {"batch_size": options.batch_size, "workers": options.workers}
        reading = {"channels": options.channels, "track": options.track}
        predict = partial(predictor.answers, **batches, **reading)
        if options.adapt:
            from speech_emotion.inference.adaptation import GROUPS, Adaptation

            # Of all recordings, also those that a resumed run has classified: so it ends with the same table.
            adaptation = Adaptation(predictor, recordings, GROUPS[options.adapt], **batches, **reading)
            predict = partial(predict, statistics=adaptation)
        check_space(options.out, len(left))
        if options.resume and len(left) == len(recordings):
            say(f"nothing is left of a run to {options.out} that was stopped: all is classified", is_error=True)
        progress = stack.enter_context(tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file"))
        files = FileNotes()
        for answer in predict(left):
            if name:
                for row in (*answer.rows, *answer.stretches):
                    row["url"] = name
            for timeline in timelines:
                timeline.write(answer.stretches)
            table.write(answer.rows)  # last: with these rows, a resumed run takes the stretches as whole
            files.add(answer.info)
            progress.update()
        table.finish(*timelines)
    if options.adapt:
        say(adaptation)
    summary = Summary(options.out, predictor.labels, n_others, judged, files.lines(options.channels, options.track))
    say(summary)
    if not predictor.network.takes_statistics and any(RavdessNames().of(path) is None for path in recordings):
        say(STRANGERS.format(options.model))
    if options.plot:
        summary.draw(options.plot, answer.stretches if options.timeline and len(left) == len(recordings) == 1 else [])
        say(f"the picture is in {options.plot}")
    return 1 if summary.n_failed or truth.absence else 0


def classify_live(options: argparse.Namespace) -> int:
    """Print a line for each stretch of a recording as it is made, then write its row; returns the exit status."""
    from speech_emotion.inference.listening import microphone, played, record
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.tables.output_paths import check_not_read

    check_installed(options)
    is_file = options.live != MICROPHONE
    for file in filter(None, (options.out, options.timeline)):
        check_not_read(file, [options.model, options.live] if is_file else [options.model])
    predictor = Predictor(options.model, options.device, options.speech_only)
    sound = played(options.live) if is_file else microphone()
    return record(predictor, options.live, sound, options.out, options.timeline, bool(options.adapt))


if __name__ == "__main__":
    sys.exit(main())
