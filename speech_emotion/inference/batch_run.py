"""The run of eval.py: recordings → rows in tables."""

import hashlib
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import Answer
from speech_emotion.inference.rows import Row, columns, stretch_columns
from speech_emotion.inference.table import Table, check_space
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
    """Classify the recordings and write the rows of each as soon as they are known, under `name` if given.

    `count` is called with the rows of each recording and the information about its file; for rows kept from an earlier
    run that information is None. Returns the stretches if there is a timeline and a single recording.
    """
    # Everything that changes rows; the list of recordings only if rows depend on other recordings.
    settings = [predictor.digest, options.adapt, predictor.speech_only, options.channels, options.track]
    settings += recordings if options.adapt else []
    table = Table(
        options.out,
        columns(predictor.labels, options.channels),
        timeline=options.timeline,
        stretch_columns=stretch_columns(predictor.labels, options.channels) if options.timeline else (),
        resume=options.resume,
        run=hashlib.sha256(repr(settings).encode()).hexdigest(),
    )
    with table:
        for rows in table.kept():
            count(rows, None)
        left = [path for path in recordings if path not in table]
        answers, adaptation = _answers(options, recordings, predictor, left)
        check_space(options.out, len(left))
        if options.resume and len(left) == len(recordings):
            say(f"there is no run to resume for {options.out}; classifying all recordings", is_error=True)
        with tqdm(total=len(recordings), initial=len(recordings) - len(left), unit="file") as progress:
            for answer in answers:
                for row in (*answer.rows, *answer.stretches):
                    row["url"] = name or row["url"]
                table.write(answer.rows, answer.stretches if options.timeline else (), answer.length_s)
                count(answer.rows, answer.info)
                progress.update()
        table.finish()
    if adaptation:
        say(adaptation)
    return answer.stretches if options.timeline and len(left) == len(recordings) == 1 else []


def _answers(
    options: Namespace, recordings: list[str], predictor: "Predictor | ClusterPredictor", left: list[str]
) -> "tuple[Iterator[Answer], Adaptation | None]":
    """The answers for the recordings that are `left`, and the adaptation, if any."""
    how = {name: getattr(options, name) for name in ("batch_size", "workers", "channels", "track")}
    if not options.adapt:
        return predictor.answers(left, **how), None
    from speech_emotion.inference.adaptation import GROUPS, Adaptation

    # Statistics of all recordings, also those already classified, so that a resumed run gives the same table.
    adaptation = Adaptation(predictor, recordings, GROUPS[options.adapt], **how)
    return predictor.answers(left, statistics=adaptation, **how), adaptation
