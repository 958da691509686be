"""The recordings of one request → their rows, within the limits, and the outlines of their waveforms."""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from starlette.datastructures import UploadFile

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.formats import TRACKS, Row, as_text
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import Answer, Recording
from speech_emotion.inference.table import FIXED, columns, rounded, stretch_columns
from speech_emotion.serving.guard import MEGABYTE, Limits

_PARTS_HZ = 100  # parts of an outline per second, before they are merged
_POINTS = 1000  # of an outline that is merged


class Outline:
    """The peaks of equal parts of each channel, while a recording is read piece by piece.

    It needs a kilobyte per second and channel until it is merged.
    """

    channels: Sequence[Sequence[float]] = ()  # (channels, at most _POINTS), once it is merged

    def begin(self) -> None:
        self.duration_s = 0.0
        self._peaks: list[np.ndarray] = []

    def add(self, samples: np.ndarray, rate: int) -> None:
        """A piece, (samples,) or (samples, channels), at `rate` Hz."""
        starts = np.arange(0, len(samples) * _PARTS_HZ, rate) // _PARTS_HZ
        self._peaks.append(np.maximum.reduceat(np.abs(samples.reshape(len(samples), -1).T), starts, axis=1))
        self.duration_s += len(samples) / rate

    def merge(self) -> None:
        peaks = np.concatenate(self._peaks, axis=1)
        starts = np.arange(0, peaks.shape[1], -(-peaks.shape[1] // _POINTS))
        self.channels, self._peaks = np.maximum.reduceat(peaks, starts, axis=1).astype(float).round(3).tolist(), []


@dataclass
class Reply:
    """What a client gets for one recording."""

    rows: list[Row]  # as in out.csv: one, or one per channel
    stretches: list[Row] = field(default_factory=list)  # as in eval.py's timeline
    channels_differ: bool = False
    length_s: float = 0.0
    waveforms: Sequence[Sequence[float]] = ()  # the peaks of equal parts of each row

    @classmethod
    def from_answer(cls, answer: Answer, waveforms: Sequence[Sequence[float]] = ()) -> "Reply":
        rows, stretches = (list(map(rounded, table)) for table in (answer.rows, answer.stretches))
        return cls(rows, stretches, answer.info.channels_differ, answer.length_s, waveforms)

    def in_json(self, timeline: bool) -> list[dict]:
        """The rows, with the stretches of their channel as `timeline` if requested."""
        if not timeline:
            return self.rows
        rows = []
        for row in self.rows:
            stretches = [stretch for stretch in self.stretches if stretch.get("channel") == row.get("channel")]
            rows.append(row | {"timeline": in_timeline(stretches)})
        return rows

    def for_page(self) -> dict:
        """The rows with their timelines, the waveform of each, and the texts of files by the end of their names."""
        labels = [column for column in self.rows[0] if column not in FIXED]
        channels = "each" if "channel" in self.rows[0] else "mix"
        texts = {".csv": as_text(".csv", columns(labels, channels), self.rows)}
        if self.stretches:
            texts["-timeline.csv"] = as_text(".csv", stretch_columns(labels, channels), self.stretches)
            for ending in TRACKS:
                with suppress(ImportError):
                    texts[ending] = as_text(ending, [], self.stretches, self.length_s)
        return {
            "rows": self.in_json(timeline=True),
            "labels": labels,
            "length": round(self.length_s, 2),
            "waveforms": self.waveforms,
            "channels_differ": self.channels_differ,
            "texts": texts,
        }


def answer_all(
    predictor: Predictor, uploads: list[UploadFile], limits: Limits, adapt: bool = False, channels: str = "mix"
) -> Generator[float, None, list[Reply]]:
    """One reply per recording; yields the share done after every few windows, so that the work can be ended.

    With `adapt`, all recordings are read first, as one voice or room. `channels` is "mix", or "each" for a row per
    channel.
    """
    outlines = [Outline() for _ in uploads]
    recordings = [
        recording_of(predictor, upload, limits, channels, outline)
        for upload, outline in zip(uploads, outlines, strict=True)
    ]
    statistics = None
    if adapt:
        yield from embed_all(predictor, recordings)
        voices = Voices(predictor)
        for recording in recordings:
            voices.hear(recording.path, recording.embeddings())
        statistics = voices.statistics()
    replies = []
    for number, (upload, recording, outline) in enumerate(zip(uploads, recordings, outlines, strict=True)):
        if not adapt:
            for share in embed_all(predictor, [recording]):
                yield (number + share) / len(uploads)
        upload.file.close()  # which deletes it
        replies.append(Reply.from_answer(predictor.answer(recording, statistics), outline.channels))
        yield 1.0 if adapt else (number + 1) / len(uploads)
    return replies


def embed_all(predictor: Predictor, recordings: list[Recording]) -> Generator[float, None, None]:
    """Embed all windows; yields the share done after every few."""
    for number, recording in enumerate(recordings):
        for _ in predictor.embed_in_turns(recording):
            heard_s = recording.embedded[-1][0].span[1] if recording.embedded else 0.0
            yield (number + heard_s / max(recording.windows.length_s, heard_s, 1.0)) / len(recordings)


def recording_of(
    predictor: Predictor, upload: UploadFile, limits: Limits, asked: str = "mix", outline: Outline | None = None
) -> Recording:
    """An upload, which is decoded once, or twice if it is longer than a piece.

    The limits are checked during decoding, because a small file may unpack to hours of sound.
    """
    info, outline = RecordingInfo(), outline or Outline()

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


def in_timeline(stretches: Iterable[Row]) -> list[dict]:
    """Rows of stretches for JSON, without `url`."""
    return [{key: value for key, value in stretch.items() if key != "url"} for stretch in stretches]
