"""The recordings of one request → their rows, in turns, within the limit of duration."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from speech_emotion.audio.reading import AudioError, read_pieces
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.rows import error_row
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.uploads import Upload

_DECIMALS = 4  # as in out.csv


@dataclass
class Answer:
    row: dict  # as in out.csv
    stretches: list[dict] = field(default_factory=list)  # as in eval.py's timeline
    html: str = ""


def answer_all(
    predictor: Predictor,
    uploads: list[Upload],
    limits: Limits,
    draw: Callable[[Path, Answer], Generator[None, None, str]] | None = None,
    adapt: bool = False,
) -> Generator[None, None, list[Answer]]:
    """One answer for each recording, with a pause after about every second of work; `draw` makes the HTML of each.

    With `adapt`, all are heard before, as one voice or room.
    """
    errors = []
    for upload in uploads:
        errors.append((yield from _refusal(upload, limits)))
    statistics = None
    if adapt:
        fine = [upload.path for upload, error in zip(uploads, errors, strict=True) if not error]
        statistics = yield from _adapt(predictor, fine)
    answers = []
    for upload, error in zip(uploads, errors, strict=True):
        answer = yield from _answer(predictor, upload, error, statistics)
        if draw:
            answer.html = yield from draw(upload.path, answer)
        answers.append(answer)
        upload.path.unlink(missing_ok=True)
    return answers


def _refusal(upload: Upload, limits: Limits) -> Generator[None, None, str]:
    """Why a recording is not answered, before any other work: what unpacks to hours may be a small file."""
    if upload.is_too_large:
        return f"larger than {limits.recording_mb} MB"
    seconds = 0.0
    try:
        for samples, rate in read_pieces(upload.path):
            seconds += len(samples) / rate
            if seconds > 60 * limits.recording_minutes:
                return f"longer than {limits.recording_minutes} min"
            yield
    except AudioError as error:
        return str(error)
    return ""


def _adapt(predictor: Predictor, paths: list[Path]) -> Generator[None, None, Statistics]:
    voices = Voices(predictor)
    for path in paths:
        voices.hear((yield from predictor.embed_in_turns(path)))
        yield
    statistics_of = cache(voices.statistics_of)
    return lambda path, channel: statistics_of(channel)


def _answer(
    predictor: Predictor, upload: Upload, error: str, statistics: Statistics | None
) -> Generator[None, None, Answer]:
    name = upload.name or "recording"
    if error:
        return Answer(error_row(name, predictor.labels, error))
    answer = yield from predictor.answer_in_turns(upload.path, statistics)
    row, *_ = answer.rows
    return Answer(_rounded(row | {"url": name}), [_rounded(stretch | {"url": name}) for stretch in answer.stretches])


def _rounded(row: dict) -> dict:
    return {key: round(value, _DECIMALS) if isinstance(value, float) else value for key, value in row.items()}
