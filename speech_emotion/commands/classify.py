"""eval.py: recordings → tables, a summary and a picture."""

import argparse
import logging
import os
import re
import sys
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from speech_emotion.models.published import find_model
from speech_emotion.terminal import DEVICES, Parser, positive, program, say

if TYPE_CHECKING:  # --help pays neither for these nor for torch
    from speech_emotion.commands.summary import Summary
    from speech_emotion.corpora.segments import Segment
    from speech_emotion.inference.cluster import ClusterPredictor
    from speech_emotion.inference.predictor import Predictor

STANDARD_INPUT = "-"
PICTURES = (".png", ".pdf", ".svg")
EPILOG = (
    "Exit status: 0 every recording has an emotion, 1 some have an error instead, 2 wrong usage or a full disk, 130 "
    "stopped with Ctrl-C, 143 with SIGTERM."
)
PROGRESS = "{desc}{percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} s of sound [{elapsed}<{remaining}]"
ADAPT = ("all", "folder", "speaker")


@dataclass(frozen=True)
class EvalOptions:
    """The options of eval.py, under their names on the command line."""

    paths: list[str]
    model: Path | None  # None chooses by the recordings
    emotions: list[str]
    out: str
    timeline: str | None
    segments: str | None
    tier: str
    plot: str | None
    embeddings: str | None
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

    @property
    def outputs(self) -> list[str]:
        return [file for file in (self.out, self.timeline, self.plot, self.embeddings) if file]

    @property
    def reading(self) -> dict:
        """How Predictor reads recordings."""
        return {name: getattr(self, name) for name in ("batch_size", "workers", "channels", "track")}


def parse_arguments(arguments: list[str] | None, name: str = "eval.py") -> EvalOptions:
    """Raises FileNotFoundError for a model that does not exist."""
    parser = Parser(prog=name, description="Classify the emotion of speech recordings.", epilog=EPILOG)
    add = parser.add_argument
    # fmt: off
    add("paths", nargs="*", metavar="PATH", help="recordings or folders, also s3:// and gs://, or - for standard input "
        "(default: those in --labels, else eval_data)")
    add("--model", type=find_model, metavar="FILE", help="checkpoint (default: model.pt if all recordings have names "
        "of RAVDESS, else model_any_voice.pt)")
    add("--emotions", action="extend", nargs="+", default=[], metavar="EMOTION", help="the emotions that can occur; "
        "only these are answered (default: all that the model knows)")
    add("--out", default="out.csv", metavar="FILE", help="table: .csv, .jsonl or .parquet (default: out.csv)")
    add("--timeline", metavar="FILE", help="table of the stretches of speech in every recording; for one recording "
        "also .TextGrid, .srt, .vtt or .txt (Audacity)")
    add("--segments", metavar="FILE", help="classify these parts of one recording: .srt, .vtt, .TextGrid, .txt "
        "(Audacity), .rttm, .csv with start and end, or .json from whisper; --timeline gets their rows, with text and "
        "speaker (default: segments.csv)")
    add("--tier", default="", metavar="NAME", help="the tier of a .TextGrid that holds the segments")
    add("--plot", metavar="FILE", help="picture (.png, .pdf, .svg) of the emotions; over time for a single "
        "recording")
    add("--embeddings", metavar="FILE", help="NumPy file (.npz) of the vectors that the network's last layers "
        "classify: url, (recordings,), and embedding, (recordings, D)")
    add("--adapt", nargs="?", const="all", metavar="|".join(ADAPT), help="normalise by the recordings' own mean and "
        "deviation, without labels: by all of them (try this first); by folder, if each holds many recordings of one "
        "voice with several emotions; or by the speakers of --segments (for model_any_voice.pt)")
    add("--channels", choices=["mix", "each"], default="mix", help="mix the channels of a recording (default), or "
        "classify each separately, such as two microphones")
    add("--track", type=positive, metavar="N", help="audio track to use, from 1 (default: FFmpeg's choice)")
    add("--labels", metavar="FILE", help="CSV table of path, emotion and, optionally, speaker: test the model on it")
    add("--map", action="extend", nargs="+", default=[], metavar="LABEL=LABEL", help="count one label as another, "
        "such as calm=neutral, when the model is tested")
    add_speech = parser.add_mutually_exclusive_group().add_argument
    add_speech("--speech-only", action="store_true", default=None, help="leave out music, noise and empty rooms "
               "(default for model_any_voice.pt)")
    add_speech("--all-sounds", dest="speech_only", action="store_false", default=None, help="classify these as well "
               "(default for the other models)")
    add("--resume", action="store_true", help="resume a run that was stopped, from its .part file")
    add("--device", default="auto", choices=DEVICES)
    add("--batch-size", type=positive, default=16, metavar="N", help="windows per batch (default: 16)")
    add("--workers", type=positive, metavar="N", help="threads, with --ray processes (default: one for each core)")
    add("--ray", type=_address, nargs="?", const="local", metavar="ADDRESS", help="run on a Ray cluster: auto or "
        "HOST:PORT; without ADDRESS, on this machine alone")
    add("--debug", action="store_true", help="show where errors come from")
    # fmt: on
    options = EvalOptions(**vars(parser.parse_args(arguments)))
    if options.adapt and options.adapt not in ADAPT:  # --adapt FOLDER
        if not os.path.exists(options.adapt):
            parser.error(f"--adapt takes {', '.join(ADAPT)}, not {options.adapt}")
        options = replace(options, paths=[options.adapt, *options.paths], adapt="all")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        parser.error(f"--plot writes {', '.join(PICTURES)}, not {options.plot}")
    if options.embeddings and Path(options.embeddings).suffix != ".npz":
        parser.error(f"--embeddings writes .npz, not {options.embeddings}")
    if STANDARD_INPUT in options.paths and (len(options.paths) > 1 or options.resume or options.ray):
        parser.error("- (standard input) cannot be combined with other recordings, --resume or --ray")
    if options.segments and options.channels == "each":
        parser.error("--segments cannot be combined with --channels each")
    if options.adapt == "speaker" and not options.segments:
        parser.error("--adapt speaker needs --segments with speakers")
    if options.labels and options.channels == "each":
        parser.error("--labels gives a recording one emotion; leave out --channels each")
    if options.segments and not options.timeline:
        options = replace(options, timeline="segments.csv")
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
            with TemporaryDirectory() as folder:
                path = Path(folder) / "recording"
                with path.open("wb") as file:
                    copyfileobj(sys.stdin.buffer, file)
                ending.status = classify(replace(options, paths=[str(path)]), url="stdin")
        else:
            ending.status = classify(options)
    return ending.status


def classify(options: EvalOptions, url: str | None = None) -> int:
    """Classify the recordings, write the tables and print a summary; returns the exit status.

    `url` is what the tables call a single recording, if not its path.
    """
    # What is wrong with the options is said before torch is imported, which takes seconds.
    from speech_emotion.audio.files import find_recordings
    from speech_emotion.corpora.segments import read_segments
    from speech_emotion.evaluation.truth import Evaluation, LabelTable, RavdessNames
    from speech_emotion.inference.formats import format_of
    from speech_emotion.outputs import check_outputs

    truth = LabelTable(options.labels, must_exist=not options.paths) if options.labels else RavdessNames()
    recordings, n_others = find_recordings(options.paths or truth.paths or ["eval_data"])
    model, first_line = (options.model, "") if options.model else default_model(recordings, options.adapt)
    if options.segments and len(recordings) > 1:
        raise ValueError(f"--segments are those of one recording, not of {len(recordings)}")
    segments = read_segments(options.segments, recordings[0], options.tier) if options.segments else []
    if options.adapt == "speaker" and not any(segment.speaker for segment in segments):
        raise ValueError(f"{options.segments} names no speakers, which --adapt speaker needs")
    check_outputs(options.outputs, [*filter(None, [model, options.labels, options.segments]), *recordings])
    if missing := [str(Path(file).parent) for file in options.outputs if not Path(file).parent.is_dir()]:
        raise FileNotFoundError(f"there is no folder {missing[0]}")
    if options.timeline and format_of(options.timeline).is_track and len(recordings) > 1:
        raise ValueError(f"{options.timeline} can only hold one recording, not {len(recordings)}; use a .csv")

    from speech_emotion.commands.summary import Summary
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model)
    make = Predictor
    if options.ray:
        from speech_emotion.inference.cluster import ClusterPredictor

        make = partial(ClusterPredictor, address=options.ray)
    predictor = make(checkpoint, options.device, speech_only=options.speech_only, emotions=options.emotions)
    test_clips = () if options.labels else checkpoint.split.get("test", ())
    evaluation = Evaluation(truth, predictor.labels, options.map, test_clips)
    if options.labels and (warning := evaluation.check(recordings)):
        say(warning, is_error=True)
    if first_line:
        say(first_line)
    summary = Summary(predictor.labels, evaluation, options, n_others)
    write_tables(options, recordings, predictor, summary, segments, url)
    say(summary)
    if options.embeddings:
        write_embeddings(options, recordings, predictor, url)
        say(f"the embeddings are in {options.embeddings}")
    if options.plot:
        from speech_emotion.evaluation import plots

        plots.use_style()
        stretches = [row for row in summary.stretches if row["emotion"]]
        if len(recordings) == 1 and stretches:
            figure = plots.plot_recording(stretches, predictor.labels)
        else:
            figure = plots.plot_folder(summary.bins, summary.n_failed, evaluation)
        plots.save_picture(figure, options.plot)
        say(f"the picture is in {options.plot}")
    return 1 if summary.n_failed or truth.absence else 0


def default_model(recordings: list[str], adapt: str | None) -> tuple[Path, str]:
    """The published model for these recordings, and a line that says which and why."""
    from speech_emotion.evaluation.truth import RavdessNames

    name, reason = "model_any_voice.pt", "for voices that no model was trained on"
    if adapt:
        reason = "which can adapt"
    elif all(map(RavdessNames().find, recordings)):
        name, reason = "model.pt", "because all recordings have names of RAVDESS"
    return find_model(name), f"{name}, {reason}; --model chooses another"


def write_tables(
    options: EvalOptions,
    recordings: list[str],
    predictor: "Predictor | ClusterPredictor",
    summary: "Summary",
    segments: "list[Segment]",
    url: str | None = None,
) -> None:
    """Classify the recordings and write the rows of each as soon as they are known, under `url` if given."""
    from tqdm import tqdm

    from speech_emotion.inference.adaptation import GROUPS, Adaptation
    from speech_emotion.inference.table import Table, columns, stretch_columns

    channels, track, adapt, timeline = options.channels, options.track, options.adapt, options.timeline
    # Everything that changes rows; the list of recordings only if rows depend on other recordings.
    settings = [predictor.digest, adapt, predictor.speech_only, channels, track, predictor.labels, segments]
    settings += recordings if adapt else []
    table = Table(
        options.out,
        columns(predictor.labels, channels),
        timeline=timeline,
        stretch_columns=stretch_columns(predictor.labels, channels, bool(segments)) if timeline else (),
        resume=options.resume,
        run=sha256(repr(settings).encode()).hexdigest(),
    )
    with table:
        for rows in table.kept():
            summary.add(rows)
        left = [path for path in recordings if path not in table]
        if options.resume and len(left) == len(recordings):
            say(f"there is no run to resume for {options.out}; classifying all recordings", is_error=True)
        reading = options.reading | {"segments": segments, "by_speaker": adapt == "speaker"}
        # Of all recordings, also those already classified, so that a resumed run gives the same table.
        statistics = Adaptation(predictor, recordings, GROUPS[adapt], **reading) if adapt else None
        with tqdm(total=1, bar_format=PROGRESS) as progress:
            n_done, done_s = 0, 0.0

            def advance(recording_s: float, so_far_s: float) -> None:
                """The recordings that were not read yet count as long as the mean of the others."""
                progress.total = round((done_s + recording_s) / (n_done + 1) * len(left))
                progress.update(round(done_s + so_far_s) - progress.n)

            if not options.ray:  # whose processes answer whole recordings
                reading["heard"] = lambda recording, window: advance(recording.windows.length_s, window.span[1])
            for answer in predictor.answers(left, statistics=statistics, **reading):
                for row in (*answer.rows, *answer.stretches):
                    row["url"] = url or row["url"]
                table.write(answer.rows, answer.stretches if timeline else (), answer.length_s)
                summary.add(answer.rows, answer)
                advance(answer.length_s, answer.length_s)
                n_done, done_s = n_done + 1, done_s + answer.length_s
                progress.set_description(f"{n_done} of {len(left)} recordings")
        table.finish()
    if statistics:
        say(statistics)


def write_embeddings(
    options: EvalOptions, recordings: list[str], predictor: "Predictor | ClusterPredictor", url: str | None = None
) -> None:
    """Write the mean embedding of the stretches of each recording; recordings without speech are left out."""
    import numpy as np

    from speech_emotion.outputs import replaced

    means = {
        url or path: np.concatenate([*voices.values()]).mean(axis=0)
        for path, voices in predictor.embeddings(recordings, **options.reading)
        if voices
    }
    with replaced(options.embeddings) as part, part.open("wb") as file:
        np.savez(file, url=[*means], embedding=[*means.values()])
