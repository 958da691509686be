"""The recordings of one request → their rows, within the limits, and the outlines of their waveforms."""

import re
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
from starlette.datastructures import UploadFile

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.formats import Row
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import Answer, Recording
from speech_emotion.inference.table import rounded
from speech_emotion.serving.guard import MEGABYTE, Limits

_PARTS_HZ = 100  # parts of an outline per second, before they are merged
_POINTS = 1000  # of an outline that is merged


class Outline:
    """The minimum and maximum of equal parts of each channel, while a recording is read piece by piece.

    It needs a kilobyte per second and channel until it is merged.
    """

    channels: Collection[np.ndarray] = ()  # (channels, 2, at most _POINTS), once it is merged

    def begin(self) -> None:
        self.duration_s = 0.0
        self._extremes: list[list[np.ndarray]] = []

    def add(self, samples: np.ndarray, rate: int) -> None:
        """A piece, (samples,) or (samples, channels), at `rate` Hz."""
        starts = np.arange(0, len(samples) * _PARTS_HZ, rate) // _PARTS_HZ
        by_channel = samples.reshape(len(samples), -1).T
        self._extremes.append([ufunc.reduceat(by_channel, starts, axis=1) for ufunc in (np.minimum, np.maximum)])
        self.duration_s += len(samples) / rate

    def merge(self) -> None:
        low, high = np.concatenate(self._extremes, axis=2)
        starts = np.arange(0, low.shape[1], -(-low.shape[1] // _POINTS))
        merged = np.minimum.reduceat(low, starts, axis=1), np.maximum.reduceat(high, starts, axis=1)
        self.channels, self._extremes = np.stack(merged, axis=1), []


@dataclass
class Reply:
    """What a client gets for one recording."""

    rows: list[Row]  # as in out.csv: one, or one per channel
    stretches: list[Row] = field(default_factory=list)  # as in eval.py's timeline
    channels_differ: bool = False
    length_s: float = 0.0
    html: str = ""

    @classmethod
    def from_answer(cls, answer: Answer) -> "Reply":
        rows, stretches = (list(map(rounded, table)) for table in (answer.rows, answer.stretches))
        return cls(rows, stretches, answer.info.channels_differ, answer.length_s)

    def stretches_of(self, row: Row) -> list[Row]:
        """The stretches of the channel of a row."""
        return [stretch for stretch in self.stretches if stretch.get("channel") == row.get("channel")]

    def in_json(self, timeline: bool) -> list[dict]:
        """The rows, with their stretches as `timeline` if requested."""
        return [row | ({"timeline": in_timeline(self.stretches_of(row))} if timeline else {}) for row in self.rows]


def answer_all(
    predictor: Predictor,
    uploads: list[UploadFile],
    limits: Limits,
    draw: Callable[[Reply, Outline], str] | None = None,
    adapt: bool = False,
    channels: str = "mix",
) -> Generator[None, None, list[Reply]]:
    """One reply per recording; yields after every few windows, so that the work can be ended. `draw` returns its HTML.

    With `adapt`, all recordings are read first, as one voice or room. `channels` is "mix", or "each" for a row per
    channel.
    """
    outlines = [Outline() for _ in uploads]
    recordings = [_recording(predictor, *pair, limits, channels) for pair in zip(uploads, outlines, strict=True)]
    statistics = None
    if adapt:
        voices = Voices(predictor)
        for recording in recordings:
            yield from predictor.embed_in_turns(recording)
            voices.hear(recording.path, recording.embeddings())
        statistics = voices.statistics()
    replies = []
    for upload, recording, outline in zip(uploads, recordings, outlines, strict=True):
        if not adapt:
            yield from predictor.embed_in_turns(recording)
        upload.file.close()  # which deletes it
        reply = Reply.from_answer(predictor.answer(recording, statistics))
        if draw:
            reply.html = draw(reply, outline)
        replies.append(reply)
        yield
    return replies


def _recording(predictor: Predictor, upload: UploadFile, outline: Outline, limits: Limits, asked: str) -> Recording:
    """An upload, which is decoded once, or twice if it is longer than a piece.

    The limits are checked during decoding, because a small file may unpack to hours of sound.
    """
    info = RecordingInfo()

    def pieces(channels: str, **only: list[int]) -> Iterator[Block]:
        is_shown = channels == asked  # or the channels of a mix are looked at separately
        if is_shown:
            outline.begin()
        for samples, rate in read_pieces(upload.file, channels=channels, info=info, **only):
            if is_shown:
                outline.add(samples, rate)
            if outline.duration_s > 60 * limits.recording_minutes:
                raise AudioError(f"longer than {limits.recording_minutes} min")
            if channels == "each" and info.n_channels > limits.channels:
                raise AudioError(f"more than {limits.channels} channels")
            yield samples, rate
        if is_shown:
            outline.merge()

    # The signs that browsers and other clients replace in the name of an upload.
    name = re.sub("%(22|0D|0A)", lambda code: chr(int(code[1], 16)), upload.filename)
    recording = predictor.recording(name or "recording", pieces, info, asked)
    if upload.size > limits.recording_mb * MEGABYTE:
        recording.error = f"larger than {limits.recording_mb} MB"
    return recording


def in_timeline(stretches: list[Row]) -> list[dict]:
    """Rows of stretches for JSON, without `url`."""
    return [{key: value for key, value in stretch.items() if key != "url"} for stretch in stretches]
