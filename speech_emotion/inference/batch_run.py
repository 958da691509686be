"""The run of eval.py: recordings → rows in tables."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tqdm import tqdm

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import Answer
from speech_emotion.tables.rows import Row, columns, stretch_columns
from speech_emotion.tables.table import Table, check_space, fingerprint
from speech_emotion.terminal import say

if TYPE_CHECKING:
    from speech_emotion.inference.adaptation import Adaptation
    from speech_emotion.inference.cluster import ClusterPredictor


def load_predictor(options: Namespace) -> "Predictor | ClusterPredictor":
    if options.ray:
        from speech_emotion.inference.cluster import ClusterPredictor

        return ClusterPredictor(options.model, options.device, options.ray, options.speech_only)
    return Predictor(options.model, options.device, options.speech_only)


def write_tables(
    options: Namespace,
    recordings: list[str],
    predictor: "Predictor | ClusterPredictor",
    count: Callable[[list[Row], RecordingInfo | None], None],
    name: str | None = None,
) -> list[Row]:
    """Classify the recordings, each with its rows in the tables, under `name` if given, as soon as they are known.

    `count` gets the rows of each recording, also of those that a resumed run finds in the table, and what its file is
    like. Returns the stretches of a recording that is the only one and has a timeline.
    """
    with ExitStack() as stack:
        table, timelines = _open_tables(options, recordings, predictor, stack)
        for rows in table.kept():
            count(rows, None)
        left = [path for path in recordings if path not in table]
        answers, adaptation = _answers(options, recordings, predictor, left)
        check_space(options.out, len(left))
        if options.resume and len(left) == len(recordings):
            say(f"nothing is left of a run to {options.out} that was stopped: all is classified", is_error=True)
        progress = stack.enter_context(tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file"))
        for answer in answers:
            for row in (*answer.rows, *answer.stretches):
                row["url"] = name or row["url"]
            for timeline in timelines:
                timeline.write(answer.stretches)
            table.write(answer.rows)  # last: with these rows, a resumed run takes the stretches as whole
            count(answer.rows, answer.info)
            progress.update()
        table.finish(*timelines)
    if adaptation:
        say(adaptation)
    return answer.stretches if options.timeline and len(left) == len(recordings) == 1 else []


def _open_tables(
    options: Namespace, recordings: list[str], predictor: "Predictor | ClusterPredictor", stack: ExitStack
) -> tuple[Table, list[Table]]:
    """The table of recordings and, if requested, that of their stretches; `stack` closes them."""
    # Everything that changes rows; the list of recordings only if rows depend on other recordings.
    settings = [predictor.digest, options.adapt, predictor.speech_only, options.channels, options.track]
    belongs_to = fingerprint(settings, recordings if options.adapt else [])
    of_recordings = columns(predictor.labels, options.channels)
    table = stack.enter_context(Table(options.out, of_recordings, options.resume, belongs_to))
    if not options.timeline:
        return table, []
    of_stretches = stretch_columns(predictor.labels, options.channels)
    timeline = Table(options.timeline, of_stretches, options.resume, belongs_to, of=table)
    return table, [stack.enter_context(timeline)]


def _answers(
    options: Namespace, recordings: list[str], predictor: "Predictor | ClusterPredictor", left: list[str]
) -> "tuple[Iterator[Answer], Adaptation | None]":
    """Those to the recordings that are `left`, and what they are adapted to."""
    how = {name: getattr(options, name) for name in ("batch_size", "workers", "channels", "track")}
    if not options.adapt:
        return predictor.answers(left, **how), None
    from speech_emotion.inference.adaptation import GROUPS, Adaptation

    # From all recordings, also those already classified, so that a resumed run gives the same table.
    adaptation = Adaptation(predictor, recordings, GROUPS[options.adapt], **how)
    return predictor.answers(left, statistics=adaptation, **how), adaptation
