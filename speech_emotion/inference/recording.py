"""One recording: file → windows → rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress, islice, pairwise
from typing import TypeVar

import numpy as np
import torch

from speech_emotion.audio.reading import AudioError, RecordingInfo
from speech_emotion.audio.windows import RecordingWindows, Window
from speech_emotion.corpora.segments import Segment
from speech_emotion.inference.formats import Row
from speech_emotion.inference.speech import which_speak
from speech_emotion.inference.table import error_row, recording_row, stretch_row
from speech_emotion.terminal import printable

NOBODY = "nobody speaks"

T = TypeVar("T")
Embedded = tuple[Window, torch.Tensor]  # with its embedding, (D,)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The result for one recording."""

    rows: list[Row]  # one, or with channels `each` one per channel
    stretches: list[Row]  # of the timeline, in order of time
    info: RecordingInfo
    length_s: float = 0.0  # of the recording, as far as it could be read


@dataclass(eq=False)
class Recording:
    """A recording that is read window by window."""

    path: str
    windows: RecordingWindows
    info: RecordingInfo = field(default_factory=RecordingInfo)
    has_channels: bool = False  # whether each channel has a row of its own
    segments: Sequence[Segment] = ()  # given by the user, and classified in place of the stretches that are found
    by_speaker: bool = False  # whether each speaker of the segments is a voice of its own
    embedded: list[Embedded] = field(default_factory=list)
    error: str = ""
    choose_channels: Callable[[RecordingWindows], RecordingWindows] | None = None  # if they are mixed and unrelated
    _unread: Iterator[tuple[Window, torch.Tensor]] | None = field(default=None, init=False, repr=False)

    def measure(self) -> Iterator[None]:
        """Measure the level of the whole recording, which `read` needs; yields after every 30 s of sound."""
        if not self.error:
            with self._noting_errors():
                yield from self.windows.measure()

    def read(self, n: int, prepare: Callable[[Window, torch.Tensor], T]) -> list[T]:
        """Apply `prepare` to the next `n` windows and their samples; fewer at the end or after an error."""
        if not self.error:
            with self._noting_errors():
                if self._unread is None:
                    self.windows.find()
                    if self.choose_channels and self.info.channels_unrelated:
                        self.windows = self.choose_channels(self.windows)
                    self._unread = iter(self.windows)
                return [prepare(*window) for window in islice(self._unread, n)]
        return []

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Says in `error` why reading failed: any failure in a library affects only this file's row."""
        try:
            yield
        except Exception as error:
            is_ours = isinstance(error, AudioError)
            self.error = str(error) if is_ours else f"cannot read: {type(error).__name__}: {printable(error)}"
            _log.debug("%s", printable(self.path), exc_info=True)

    def voice(self, window: Window) -> int | str:
        """What --adapt tells apart in a recording: the channels, from 0, or the speakers of the segments."""
        return self.segments[window.segment].speaker if self.by_speaker else window.channel

    def embeddings(self) -> dict[int | str, torch.Tensor]:
        """The embeddings of the windows with speech by voice, (stretches, D)."""
        if self.error:
            return {}
        by_voice: dict[int | str, list[torch.Tensor]] = {}
        for window, embedding in with_speech(self.embedded):
            by_voice.setdefault(self.voice(window), []).append(embedding)
        return {voice: torch.stack(embeddings).cpu() for voice, embeddings in by_voice.items()}

    def answer(self, labels: list[str], classified: list[tuple[Window, list[float]]]) -> Answer:
        """The rows for the windows and their probabilities of `labels`."""
        spoken, length_s = with_speech(classified), self.windows.length_s
        if self.error:
            row = error_row(self.path, labels, self.error)
            return Answer([row | {"channel": None} if self.has_channels else row], [], self.info, length_s)
        if self.segments:
            return self._answer_of_segments(labels, spoken)
        rows, stretches = [], []
        for channel in range(self.windows.n_channels):
            of_channel = [(window, probabilities) for window, probabilities in spoken if window.channel == channel]
            number = {"channel": channel + 1} if self.has_channels else {}
            if not of_channel:
                rows.append(error_row(self.path, labels, NOBODY) | number)
                continue
            windows = [window for window, _ in of_channel]
            parts = [
                stretch_row(self.path, labels, probabilities, window.span) | number
                for window, probabilities in zip(windows, _blended(of_channel).tolist(), strict=True)
            ]
            rows.append(recording_row(self.path, labels, parts, [window.weight for window in windows]) | number)
            stretches += parts
        return Answer(rows, sorted(stretches, key=lambda row: row["start"]), self.info, length_s)

    def _answer_of_segments(self, labels: list[str], spoken: list[tuple[Window, list[float]]]) -> Answer:
        """A row for each segment: the mean of its windows, weighted by audible duration."""
        length_s, rows, answered, weights = self.windows.length_s, [], [], []
        parts: dict[int, list[tuple[int, list[float]]]] = {}
        for window, probabilities in spoken:
            parts.setdefault(window.segment, []).append((window.weight, probabilities))
        for number, segment in enumerate(self.segments):
            if number in parts:
                part_weights, probabilities = zip(*parts[number], strict=True)
                mean = np.average(probabilities, axis=0, weights=part_weights).tolist()
                row = stretch_row(self.path, labels, mean, (segment.start, segment.end)) | {"error": ""}
                answered.append(row)
                weights.append(sum(part_weights))
            else:
                error = NOBODY if segment.start < length_s else f"it begins after the end, {length_s:.2f} s"
                row = error_row(self.path, labels, error) | {"start": segment.start, "end": segment.end}
            rows.append(row | {"speaker": segment.speaker, "text": segment.text})
        if answered:
            whole = recording_row(self.path, labels, answered, weights)
        else:
            whole = error_row(self.path, labels, NOBODY)
        return Answer([whole], rows, self.info, length_s)


def with_speech(windows: list[tuple[Window, T]]) -> list[tuple[Window, T]]:
    """The windows of a recording in which somebody speaks, each with what belongs to it."""
    return list(compress(windows, which_speak([window.speech for window, _ in windows])))


def _blended(parts: list[tuple[Window, list[float]]]) -> np.ndarray:
    """(n, K): the probabilities of each window, averaged with those of adjacent windows.

    Adjacent windows are parts of one stretch that was cut because it is long, not where the emotion changes.
    """
    probabilities = np.array([of_window for _, of_window in parts])
    spans = [window.span for window, _ in parts]
    meet = np.array([False, *(before[1] == after[0] for before, after in pairwise(spans)), False])[:, None]
    total = probabilities.copy()
    total[1:] += probabilities[:-1] * meet[1:-1]
    total[:-1] += probabilities[1:] * meet[1:-1]
    return total / (1.0 + meet[:-1] + meet[1:])
