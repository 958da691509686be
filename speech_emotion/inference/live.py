"""Classification of a recording in progress: provisional rows, and finally the rows that a file of it would get."""

import math
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import PIECE_S, check_samples
from speech_emotion.audio.resampling import Converter
from speech_emotion.audio.stretches import FRAME_S, SETTINGS, frame_energy, n_frames
from speech_emotion.audio.windows import Window, find_windows, stretch_window
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.formats import Row
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import Answer, Embedded, Recording

T = TypeVar("T")
STEP_S = 0.4  # new sound needed before the rows are updated
FEWEST_TO_ADAPT = 5  # stretches needed for the statistics of a voice
_SHOWN_S = 60.0  # how far back provisional rows reach
_SETTLED_S = 4.0  # a stretch that ended this long ago is kept: where a long one is cut depends on what follows
_NEW_S = 10.0  # most new sound per update, even if more has arrived
_LEAD_S = 0.2  # kept before the first frame that may change: a window begins 0.1 s before its onset
_AT_ONCE = 8  # windows before other work gets its turn


@dataclass(frozen=True)
class Heard:
    """The provisional result for a recording in progress."""

    seconds: float  # duration that the rows cover
    stretches: list[Row]  # the last minute of the timeline; `ended` is true for stretches followed by a pause
    is_adapted: bool  # to the voice; false after too few stretches, or if one emotion prevails


class LiveRecording:
    """One channel of 16-bit sound that arrives in pieces and is kept in memory, up to `longest_s`.

    Each update finds the stretches as if the recording had ended now, but keeps those that ended some seconds ago, so
    that the time of an update does not grow with the recording. These rows are provisional: what counts as silence
    depends on the loudest voice, which may come later. `finish` classifies the whole recording like a file, so the
    final rows do not depend on the size of the pieces.

    >>> live = LiveRecording(Predictor("model_any_voice.pt"), 16_000)
    >>> live.add(bytes(3200))
    >>> for row in at_once(live.update()).stretches:
    ...     print(row["emotion"], row["ended"])
    """

    def __init__(self, predictor: Predictor, sample_rate: int, name: str = "live", longest_s: float = 600):
        """Raises AudioError for a sample rate that is not supported."""
        check_samples(np.empty(0), sample_rate)
        self._predictor, self._rate, self._name = predictor, sample_rate, name
        self._most = 2 * round(longest_s * sample_rate)  # bytes
        self._pcm, self._lock = bytearray(), threading.Lock()
        self._converter = Converter(sample_rate, predictor.features.sample_rate)
        self._n_converted = 0  # samples that arrived and went through it
        self._waveform, self._offset = torch.empty(0), 0  # what came out, and its position; without the settled part
        self._energy = np.empty(0, np.float32)  # of each frame so far
        self._begin = 0  # first frame after the settled stretches
        self._settled: list[Embedded] = []
        self._current: dict[tuple[int, int], Embedded] = {}  # by first and last sample
        self._voice_from_s = 0.0
        self.heard_s = 0.0  # duration at the last update

    def add(self, pcm: bytes) -> None:
        """Append little-endian samples, up to the longest duration; one may be split between two pieces."""
        with self._lock:
            self._pcm += pcm[: self._most - len(self._pcm)]

    @property
    def seconds(self) -> float:
        """Duration so far."""
        return len(self._pcm) // 2 / self._rate

    @property
    def is_full(self) -> bool:
        return len(self._pcm) >= self._most

    def forget_voice(self) -> None:
        """Adapt only to what follows, because another person speaks."""
        self._voice_from_s = self.seconds

    def update(self, adapt: bool = False) -> Generator[None, None, Heard]:
        """The provisional result; yields between batches. Not reentrant. `adapt` uses the statistics of the voice."""
        self._listen()
        features, last = self._predictor.features, self._offset + len(self._waveform)

        def place(window: Window) -> tuple[int, int]:
            return window.start, min(window.end, last)

        windows = find_windows(self._energy[None], features, self._begin) if len(self._energy) else []
        current: dict[tuple[int, int], Embedded] = {}
        new = []
        for window in windows:
            if place(window) in self._current:
                before, embedding = self._current[place(window)]
                current[place(window)] = replace(window, speech=before.speech), embedding
            else:
                start, end = window.start - self._offset, window.end - self._offset
                new.append((window, stretch_window(self._waveform, start, end, features)))
        for begin in range(0, len(new), _AT_ONCE):
            for window, embedding in self._predictor.embed_windows(new[begin : begin + _AT_ONCE]):
                current[place(window)] = window, embedding
            yield
        self._current = dict(sorted(current.items()))
        self.heard_s = last / features.sample_rate
        heard = self._heard(adapt)
        self._settle()
        return heard

    def finish(self, adapt: bool = False) -> Generator[None, None, Answer]:
        """The answer that a file of it would get; yields like update. `adapt` uses the statistics of the recording."""
        length = int(PIECE_S * self._rate)

        def pieces() -> Iterator[Block]:
            for start in range(0, len(self._pcm) // 2, length):
                yield self._samples(start, start + length), self._rate

        recording = self._predictor.recording(self._name, pieces)
        yield from self._predictor.embed_in_turns(recording)
        return self._predictor.answer(recording, self._statistics(recording.embeddings()) if adapt else None)

    def _listen(self) -> None:
        """Convert what has arrived, measure its frames, and forget what cannot change any more."""
        rate = self._predictor.features.sample_rate
        frame, begin = int(FRAME_S * rate), self._n_converted
        arrived = self._samples(begin, begin + round(_NEW_S * self._rate))
        self._n_converted += len(arrived)
        self._waveform = torch.cat([self._waveform, self._converter(arrived)])
        energy = frame_energy(self._waveform[len(self._energy) * frame - self._offset :], rate)
        self._energy = np.concatenate([self._energy, energy.numpy()])
        n_done = max(0, self._begin - n_frames(_LEAD_S)) * frame - self._offset
        self._waveform, self._offset = self._waveform[n_done:], self._offset + n_done

    def _samples(self, first: int, last: int) -> np.ndarray:
        """Samples [first, last) of what has arrived, as float32."""
        with self._lock:
            pcm = bytes(memoryview(self._pcm)[2 * first : 2 * min(last, len(self._pcm) // 2)])
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 2**15

    def _settle(self) -> None:
        """Settle the stretches that ended some time ago; later updates look for others only after them."""
        until = self.heard_s - _SETTLED_S
        for place, (window, embedding) in list(self._current.items()):
            if window.span[1] <= until:
                self._settled.append((window, embedding))
                del self._current[place]
                self._begin = n_frames(window.span[1])
        next_s = min((window.span[0] for window, _ in self._current.values()), default=self.heard_s)
        self._begin = max(self._begin, n_frames(min(next_s, until) - SETTINGS.context_s))

    def _heard(self, adapt: bool) -> Heard:
        """The result with the rows of the last minute."""
        embedded = [*self._settled, *self._current.values()]
        statistics = None
        if adapt:
            voice = self._recording(window for window in embedded if window[0].span[0] >= self._voice_from_s)
            embeddings = voice.embeddings()
            if len(embeddings.get(0, ())) >= FEWEST_TO_ADAPT:
                statistics = self._statistics(embeddings)
        recent = self._recording(window for window in embedded if window[0].span[1] > self.heard_s - _SHOWN_S)
        rows = self._predictor.answer(recent, statistics).stretches
        goes_on = math.inf  # start of the stretch that no pause has ended yet, with all parts that it was cut into
        for window, _ in reversed(self._current.values()):
            start, end = window.span
            if end != goes_on and (goes_on < math.inf or end + SETTINGS.pause_s <= self.heard_s):
                break
            goes_on = start
        return Heard(self.heard_s, [row | {"ended": row["start"] < goes_on} for row in rows], statistics is not None)

    def _recording(self, embedded: Iterable[Embedded]) -> Recording:
        return replace(self._predictor.recording(self._name, list), embedded=list(embedded))

    def _statistics(self, embeddings: dict[int, torch.Tensor]) -> Statistics | None:
        """The statistics of the voice; None if nobody speaks or one emotion prevails, as in Voices."""
        voices = Voices(self._predictor)
        voices.hear("", embeddings)
        return None if voices.one_sided() or not embeddings else voices.statistics()


def at_once(work: Generator[None, None, T]) -> T:
    """Run a generator to its end; returns its return value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
