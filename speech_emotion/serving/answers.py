"""The recordings of one request → their rows, in turns, within the limit of duration."""

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.inference import recording as inference
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.rows import rounded
from speech_emotion.serving.envelope import Envelope
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.uploads import Upload


@dataclass
class Answer:
    rows: list[dict]  # as in out.csv: one, or one per channel
    stretches: list[dict] = field(default_factory=list)  # as in eval.py's timeline
    channels_differ: bool = False
    html: str = ""

    @property
    def error(self) -> str:
        """The error, if no row has an emotion."""
        return "" if any(row["emotion"] for row in self.rows) else self.rows[0]["error"]

    def stretches_of(self, row: dict) -> list[dict]:
        """The stretches of the channel of a row."""
        return [stretch for stretch in self.stretches if stretch.get("channel") == row.get("channel")]

    def in_json(self, timeline: bool) -> list[dict]:
        """The rows, with their stretches as `timeline` if requested."""
        return [row | ({"timeline": in_timeline(self.stretches_of(row))} if timeline else {}) for row in self.rows]

    @classmethod
    def of(cls, answer: inference.Answer) -> "Answer":
        rows, stretches = (list(map(rounded, each)) for each in (answer.rows, answer.stretches))
        return cls(rows, stretches, answer.info.channels_differ)


@dataclass
class Outline:
    """The envelope of each channel of a recording, (channels, 2, points), once it has been read."""

    channels: Collection[np.ndarray] = ()
    duration_s: float = 0.0


def answer_all(
    predictor: Predictor,
    uploads: list[Upload],
    limits: Limits,
    draw: Callable[[Answer, Outline], Generator[None, None, str]] | None = None,
    adapt: bool = False,
    channels: str = "mix",
) -> Generator[None, None, list[Answer]]:
    """One answer per recording; yields after about every second of work. `draw` returns the HTML of an answer.

    With `adapt`, all recordings are read first, as one voice or room. `channels` is "mix", or "each" for a row per
    channel.
    """
    outlines = [Outline() for _ in uploads]
    recordings = [
        _recording(predictor, upload, limits, channels, outline)
        for upload, outline in zip(uploads, outlines, strict=True)
    ]
    statistics = None
    if adapt:
        voices = Voices(predictor)
        for recording in recordings:
            yield from predictor.embed_in_turns(recording)
            voices.hear(recording.embeddings())
        of_channel = cache(voices.statistics_of)
        statistics = lambda path, channel: of_channel(channel)  # noqa: E731
    answers = []
    for upload, recording, outline in zip(uploads, recordings, outlines, strict=True):
        if not adapt:
            yield from predictor.embed_in_turns(recording)
        upload.path.unlink(missing_ok=True)
        answer = Answer.of(predictor.answer(recording, statistics))
        if draw:
            answer.html = yield from draw(answer, outline)
        answers.append(answer)
    return answers


def _recording(
    predictor: Predictor, upload: Upload, limits: Limits, channels: str, outline: Outline
) -> inference.Recording:
    """An upload, which is decoded once, or twice if it is longer than a piece.

    The limits are checked during decoding, because a small file may unpack to hours of sound.
    """
    info = RecordingInfo()

    def pieces() -> Iterator[Block]:
        envelope = Envelope()
        for samples, rate in read_pieces(upload.path, channels=channels, info=info):
            envelope.add(samples, rate)
            if envelope.duration_s > 60 * limits.recording_minutes:
                raise AudioError(f"longer than {limits.recording_minutes} min")
            if channels == "each" and info.n_channels > limits.channels:
                raise AudioError(f"more than {limits.channels} channels")
            yield samples, rate
        outline.channels, outline.duration_s = envelope.merged(), envelope.duration_s

    recording = predictor.recording(upload.name or "recording", pieces, info, channels == "each")
    if upload.is_too_large:
        recording.error = f"larger than {limits.recording_mb} MB"
    return recording


def in_timeline(stretches: list[dict]) -> list[dict]:
    """Rows of stretches for JSON, without `url`."""
    return [{key: value for key, value in stretch.items() if key != "url"} for stretch in stretches]
