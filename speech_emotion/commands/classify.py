"""eval.py: recordings → tables, a summary and a picture."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from speech_emotion.terminal import Parser, count, positive, program, say

if TYPE_CHECKING:  # --help pays neither for these nor for torch
    from speech_emotion.commands.summary import Summary
    from speech_emotion.corpora.segments import Segment
    from speech_emotion.inference.cluster import ClusterPredictor
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.inference.rows import Row

STANDARD_INPUT = "-"
STRANGERS = (
    "{} was trained on the 24 speakers of RAVDESS only; --model model_any_voice.pt is more accurate for the speech of "
    "others, but not for song without --adapt"
)


@dataclass(frozen=True)
class EvalOptions:
    """The options of eval.py, under their names on the command line."""

    paths: list[str]
    model: str
    emotions: list[str]
    out: str
    timeline: str | None
    segments: str | None
    tier: str
    plot: str | None
    adapt: str | None
    channels: str
    track: int | None
    labels: str | None
    map: list[str]
    speech_only: bool | None
    resume: bool
    device: str
    batch_size: int
    workers: int | None
    ray: str | None
    debug: bool


def parse_arguments(arguments: list[str] | None, name: str = "eval.py") -> EvalOptions:
    parser = Parser(
        prog=name,
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
    parser.add_argument("--model", default="model.pt", metavar="FILE", help="checkpoint (default: model.pt)")
    parser.add_argument(
        "--emotions",
        action="extend",
        nargs="+",
        default=[],
        metavar="EMOTION",
        help="the emotions that can occur; only these are answered (default: all that the model knows)",
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
        "--segments",
        metavar="FILE",
        help="classify these parts of one recording: .srt, .vtt, .TextGrid, .txt (Audacity), .rttm, .csv with start "
        "and end, or .json from whisper; --timeline gets their rows, with text and speaker (default: segments.csv)",
    )
    parser.add_argument("--tier", default="", metavar="NAME", help="the tier of a .TextGrid that holds the segments")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="picture (.png, .pdf, .svg) of the emotions found; over time with --timeline and a single recording",
    )
    parser.add_argument(
        "--adapt",
        nargs="?",
        const="all",
        choices=["all", "folder", "speaker"],
        help="normalise by the recordings' own mean and deviation, without labels: by all of them (try this first); "
        "by folder, if each holds many recordings of one voice with several emotions; or by the speakers of --segments "
        "(for model_any_voice.pt)",
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
        type=_address,
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="run on a Ray cluster: auto or HOST:PORT; without ADDRESS, on this machine alone",
    )
    parser.add_argument("--debug", action="store_true", help="show where errors come from")
    options = EvalOptions(**vars(parser.parse_args(arguments)))
    if STANDARD_INPUT in options.paths and (len(options.paths) > 1 or options.resume or options.ray):
        parser.error("- (standard input) cannot be combined with other recordings, --resume or --ray")
    if options.segments and options.channels == "each":
        parser.error("--segments cannot be combined with --channels each")
    if options.adapt == "speaker" and not options.segments:
        parser.error("--adapt speaker needs --segments with speakers")
    if options.segments and not options.timeline:
        options = replace(options, timeline="segments.csv")
    if options.labels and options.channels == "each":
        parser.error("--labels gives a recording one emotion; leave out --channels each")
    return options


def _address(text: str) -> str:
    if not re.fullmatch(r"local|auto|[^/]+:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a cluster; a PATH goes before --ray")
    return text


def main(arguments: list[str] | None = None, name: str = "eval.py") -> int:
    with program(name) as ending:
        options = parse_arguments(arguments, name)
        logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
        part = f"{os.path.realpath(options.out)}.part"
        ending.when_stopped = lambda: f"--resume continues from {options.out}.part" if os.path.exists(part) else ""
        if options.paths == [STANDARD_INPUT]:
            with _standard_input() as recording:
                ending.status = classify(replace(options, paths=[recording]), url="stdin")
        else:
            ending.status = classify(options)
    return ending.status


@contextmanager
def _standard_input() -> Iterator[str]:
    """Standard input as a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as file:
            copyfileobj(sys.stdin.buffer, file)
        yield str(path)


def classify(options: EvalOptions, url: str | None = None) -> int:
    """Classify the recordings, write the tables and print a summary; returns the exit status.

    `url` is what the tables call a single recording, if not its path.
    """
    from speech_emotion.audio.listing import find_recordings
    from speech_emotion.commands.summary import FileNotes, Summary
    from speech_emotion.evaluation.truth import Evaluation, LabelTable, RavdessNames
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.models.published import find_model

    truth = LabelTable(options.labels, must_exist=not options.paths) if options.labels else RavdessNames()
    recordings, n_others = find_recordings(options.paths or truth.paths or ["eval_data"])
    options = replace(options, model=find_model(options.model))
    segments = segments_of(options, recordings)
    check_outputs(options, recordings)
    if options.ray:
        from speech_emotion.inference.cluster import ClusterPredictor

        predictor = ClusterPredictor(options.model, options.device, options.ray, options.speech_only, options.emotions)
    else:
        predictor = Predictor(options.model, options.device, options.speech_only, options.emotions)
    evaluation = Evaluation(truth, predictor.labels, options.map)
    if options.labels and (warning := evaluation.check(recordings)):
        say(warning, is_error=True)
    summary = Summary(options.out, predictor.labels, evaluation, FileNotes(options.channels, options.track, n_others))
    stretches = write_tables(options, recordings, predictor, summary, segments, url)
    say(summary)
    if segments:
        say(f"{count(len(segments), 'segment')} of {options.segments}: the table is in {options.timeline}")
    if not predictor.network.takes_statistics and any(RavdessNames().find(path) is None for path in recordings):
        say(STRANGERS.format(Path(options.model).name))
    if options.plot:
        from speech_emotion.evaluation import plots

        plots.use_style()
        if stretches:
            figure = plots.plot_recording(stretches, predictor.labels)
        else:
            figure = plots.plot_folder(summary.bins, summary.n_failed, evaluation)
        plots.save_picture(figure, options.plot)
        say(f"the picture is in {options.plot}")
    return 1 if summary.n_failed or truth.absence else 0


def segments_of(options: EvalOptions, recordings: list[str]) -> "list[Segment]":
    """The segments in the file that --segments names; raises ValueError if they are not those of one recording."""
    if not options.segments:
        return []
    from speech_emotion.corpora.segments import read_segments

    if len(recordings) != 1:
        raise ValueError(f"--segments are those of one recording, not of {len(recordings)}")
    segments = read_segments(options.segments, recordings[0], options.tier)
    if options.adapt == "speaker" and not any(segment.speaker for segment in segments):
        raise ValueError(f"{options.segments} names no speakers, which --adapt speaker needs")
    return segments


def check_outputs(options: EvalOptions, recordings: list[str]) -> None:
    """Raises ImportError, OSError or ValueError for an output that cannot be written, or would overwrite an input."""
    from speech_emotion.inference.formats import format_of
    from speech_emotion.inference.rows import columns
    from speech_emotion.inference.table import check_outputs

    outputs = [file for file in (options.out, options.timeline, options.plot) if file]
    check_outputs(outputs, [*filter(None, [options.model, options.labels, options.segments]), *recordings])
    format_of(options.out, columns([]))
    if options.timeline and format_of(options.timeline).is_track and len(recordings) > 1:
        raise ValueError(f"{options.timeline} can only hold one recording, not {len(recordings)}; use a .csv")
    if options.plot:
        from speech_emotion.evaluation.plots import check_picture

        check_picture(options.plot)


def write_tables(
    options: EvalOptions,
    recordings: list[str],
    predictor: "Predictor | ClusterPredictor",
    summary: "Summary",
    segments: "list[Segment]",
    url: str | None = None,
) -> "list[Row]":
    """Classify the recordings and write the rows of each as soon as they are known, under `url` if given.

    Returns the stretches if there is a timeline and a single recording.
    """
    from tqdm import tqdm

    from speech_emotion.inference.rows import columns, stretch_columns
    from speech_emotion.inference.table import Table

    # Everything that changes rows; the list of recordings only if rows depend on other recordings.
    settings = [predictor.digest, options.adapt, predictor.speech_only, options.channels, options.track]
    settings += [predictor.labels, segments, *(recordings if options.adapt else [])]
    table = Table(
        options.out,
        columns(predictor.labels, options.channels),
        timeline=options.timeline,
        stretch_columns=stretch_columns(predictor.labels, options.channels, bool(segments)) if options.timeline else (),
        resume=options.resume,
        run=sha256(repr(settings).encode()).hexdigest(),
    )
    with table:
        for rows in table.kept():
            summary.add(rows)
        left = [path for path in recordings if path not in table]
        reading = {name: getattr(options, name) for name in ("batch_size", "workers", "channels", "track")}
        reading |= {"segments": segments, "by_speaker": options.adapt == "speaker"}
        statistics = None
        if options.adapt:
            from speech_emotion.inference.adaptation import GROUPS, Adaptation

            # Of all recordings, also those already classified, so that a resumed run gives the same table.
            statistics = Adaptation(predictor, recordings, GROUPS[options.adapt], **reading)
        if options.resume and len(left) == len(recordings):
            say(f"there is no run to resume for {options.out}; classifying all recordings", is_error=True)
        with tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file") as progress:
            for answer in predictor.answers(left, statistics=statistics, **reading):
                for row in (*answer.rows, *answer.stretches):
                    row["url"] = url or row["url"]
                table.write(answer.rows, answer.stretches if options.timeline else (), answer.length_s)
                summary.add(answer.rows, answer.info)
                progress.update()
        table.finish()
    if statistics:
        say(statistics)
    return answer.stretches if options.timeline and len(left) == len(recordings) == 1 else []
