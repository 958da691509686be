"""The recordings of one request → their rows, in turns, within the limit of duration."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.inference import recording as inference
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import Recording
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.uploads import Upload
from speech_emotion.tables.rows import error_row, rounded


@dataclass
class Answer:
    rows: list[dict]  # as in out.csv: one, or one for each channel
    stretches: list[dict] = field(default_factory=list)  # as in eval.py's timeline
    channels_differ: bool = False
    html: str = ""

    @property
    def error(self) -> str:
        """Why there is no emotion at all."""
        return "" if any(row["emotion"] for row in self.rows) else self.rows[0]["error"]

    def stretches_of(self, row: dict) -> list[dict]:
        """Those of its channel."""
        return [stretch for stretch in self.stretches if stretch.get("channel") == row.get("channel")]

    def in_json(self, timeline: bool) -> list[dict]:
        """The rows, with those of their stretches as their `timeline` if asked."""
        return [row | ({"timeline": in_timeline(self.stretches_of(row))} if timeline else {}) for row in self.rows]

    @classmethod
    def of(cls, answer: inference.Answer, name: str) -> "Answer":
        rows, stretches = ([rounded(row | {"url": name}) for row in each] for each in (answer.rows, answer.stretches))
        return cls(rows, stretches, answer.info.channels_differ)


def answer_all(
    predictor: Predictor,
    uploads: list[Upload],
    limits: Limits,
    draw: Callable[[Path, Answer], Generator[None, None, str]] | None = None,
    adapt: bool = False,
    channels: str = "mix",
) -> Generator[None, None, list[Answer]]:
    """One answer for each recording, with a pause after about every second of work; `draw` makes the HTML of each.

    With `adapt`, all are heard before, as one voice or room. `channels` are "mix", or "each" for a row for each.
    """
    errors = []
    for upload in uploads:
        errors.append((yield from _refusal(upload, limits, channels)))
    recordings = [predictor.open(upload.path, channels=channels) for upload in uploads]
    statistics = None
    if adapt:
        voices = Voices(predictor)
        for recording, error in zip(recordings, errors, strict=True):
            if not error:
                yield from predictor.embed_in_turns(recording)
                voices.hear(recording.embeddings())
        of_channel = cache(voices.statistics_of)
        statistics = lambda path, channel: of_channel(channel)  # noqa: E731
    answers = []
    for upload, recording, error in zip(uploads, recordings, errors, strict=True):
        if not error and not adapt:
            yield from predictor.embed_in_turns(recording)
        answer = _answer(predictor, recording, upload.name, error, statistics)
        if draw:
            answer.html = yield from draw(upload.path, answer)
        answers.append(answer)
        upload.path.unlink(missing_ok=True)
    return answers


def _refusal(upload: Upload, limits: Limits, channels: str) -> Generator[None, None, str]:
    """Why a recording is not answered, before any other work: what unpacks to hours may be a small file."""
    if upload.is_too_large:
        return f"larger than {limits.recording_mb} MB"
    seconds, info = 0.0, RecordingInfo()
    try:
        for samples, rate in read_pieces(upload.path, info=info):
            seconds += len(samples) / rate
            if seconds > 60 * limits.recording_minutes:
                return f"longer than {limits.recording_minutes} min"
            if channels == "each" and info.n_channels > limits.channels:
                return f"more than {limits.channels} channels"
            yield
    except AudioError as error:
        return str(error)
    return ""


def _answer(predictor: Predictor, recording: Recording, name: str, error: str, statistics: Statistics | None) -> Answer:
    """Of a recording that was heard, unless there is an error."""
    name = name or "recording"
    if error:
        of_none = {"channel": None} if recording.has_channels else {}
        return Answer([error_row(name, predictor.labels, error) | of_none])
    return Answer.of(predictor.answer(recording, statistics), name)


def in_timeline(stretches: list[dict]) -> list[dict]:
    """Rows of stretches as JSON has them."""
    return [{key: value for key, value in stretch.items() if key != "url"} for stretch in stretches]
