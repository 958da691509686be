"""The recordings of one request → their rows, in turns, within the limit of duration."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from speech_emotion.audio.reading import AudioError, read_pieces
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.rows import error_row
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.uploads import Upload

_DECIMALS = 4  # as in out.csv


@dataclass
class Answer:
    row: dict  # as in out.csv
    windows: list[dict] = field(default_factory=list)  # as in eval.py's timeline
    html: str = ""


def answer_all(
    predictor: Predictor, uploads: list[Upload], limits: Limits, draw: Callable[[Path, Answer], str] | None = None
) -> Generator[None, None, list[Answer]]:
    """One answer for each recording, with a pause after about every second of work; `draw` makes the HTML of each."""
    answers = []
    for upload in uploads:
        answer = yield from _answer(predictor, upload, limits)
        if draw:
            yield
            answer.html = draw(upload.path, answer)
        answers.append(answer)
        upload.path.unlink(missing_ok=True)
    return answers


def _answer(predictor: Predictor, upload: Upload, limits: Limits) -> Generator[None, None, Answer]:
    name = upload.name or "recording"
    if upload.is_too_large:
        return Answer(error_row(name, predictor.labels, f"larger than {limits.recording_mb} MB"))
    try:
        yield from _check_duration(upload.path, limits)
    except AudioError as error:
        return Answer(error_row(name, predictor.labels, str(error)))
    row, windows = yield from predictor.predict_in_turns(upload.path)
    return Answer(_rounded(row | {"url": name}), [_rounded(window | {"url": name}) for window in windows])


def _check_duration(path: Path, limits: Limits) -> Generator[None, None, None]:
    """Before any work: what unpacks to hours may be a small file. Raises AudioError."""
    seconds = 0.0
    for samples, rate in read_pieces(path):
        seconds += len(samples) / rate
        if seconds > 60 * limits.recording_minutes:
            raise AudioError(f"longer than {limits.recording_minutes} min")
        yield


def _rounded(row: dict) -> dict:
    return {key: round(value, _DECIMALS) if isinstance(value, float) else value for key, value in row.items()}
