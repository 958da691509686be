"""A recording while it is made: rows of what was heard so far, and in the end those that its file would get."""

import math
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from speech_emotion.audio.reading import PIECE_S, check_samples
from speech_emotion.audio.resampling import change_rate, ratio, resampled
from speech_emotion.audio.stretches import FRAME_S, SETTINGS, frame_energy, n_frames
from speech_emotion.audio.windows import RecordingWindows, Window, find_windows, stretch_window
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import Answer, Recording
from speech_emotion.tables.rows import Row

STEP_S = 0.4  # of sound that is waited for before the rows are found again
FEWEST_TO_ADAPT = 5  # stretches; fewer say little about a voice
_SHOWN_S = 60.0  # how far back provisional rows reach
_SETTLED_S = 4.0  # a stretch that ended so long ago stays as it is: how a long one is cut depends on what follows
_LEAD_S = 0.2  # that is read again before the first frame that may still change: a window opens 0.1 s before its onset
_AT_ONCE = 8  # windows, then it is another request's turn


@dataclass(frozen=True)
class Heard:
    """What is known of a recording that goes on."""

    seconds: float  # of it, that the rows are about
    stretches: list[Row]  # of its last minute, as in the timeline; `ended` says whether a pause follows
    is_adapted: bool  # to the voice, in which no emotion prevails


class LiveRecording:
    """One channel of 16-bit sound that arrives piece by piece and is kept in memory, up to `longest_s`.

    While it goes on, each update finds the stretches in what was heard so far, as if it had ended there, but for those
    that ended some seconds ago, which stay as they were found. They are provisional: a louder voice may come, and
    change what counts as silence. In the end `finish` sends all of it along the path of files, which gives the rows of
    a file that holds these samples, whatever the size of the pieces.

    >>> live = LiveRecording(Predictor("model_any_voice.pt"), 16_000)
    >>> live.add(bytes(3200))
    >>> heard = finish(live.update())
    """

    def __init__(self, predictor: Predictor, sample_rate: int, name: str = "live", longest_s: float = 600):
        """Raises AudioError for a sample rate that no recording has."""
        check_samples(np.empty(0), sample_rate)
        self._predictor, self._rate, self._name = predictor, sample_rate, name
        self._most = 2 * round(longest_s * sample_rate)  # bytes
        self._pcm, self._lock = bytearray(), threading.Lock()
        self._energy = np.empty(0, np.float32)  # of each frame that was heard
        self._begin = 0  # the first frame that is not in a settled stretch
        self._settled: list[tuple[Window, torch.Tensor]] = []  # with their embeddings
        self._current: dict[tuple[int, int], tuple[Window, torch.Tensor]] = {}  # by their first and last sample
        self._voice_from_s = 0.0
        self.heard_s = 0.0  # of which the last update knew

    def add(self, pcm: bytes) -> None:
        """Little-endian samples; those beyond the longest duration are left out. Raises ValueError for half a one."""
        if len(pcm) % 2:
            raise ValueError("samples of 16 bits are an even number of bytes")
        with self._lock:
            self._pcm += pcm[: self._most - len(self._pcm)]

    @property
    def seconds(self) -> float:
        """That have arrived."""
        return len(self._pcm) / 2 / self._rate

    @property
    def is_full(self) -> bool:
        return len(self._pcm) >= self._most

    def forget_voice(self) -> None:
        """Adapt to what is heard from here on only: somebody else speaks."""
        self._voice_from_s = self.seconds

    def update(self, adapt: bool = False) -> Generator[None, None, Heard]:
        """What is known now, with pauses for other work; one at a time. With `adapt`, by the voice's own statistics."""
        waveform, offset = self._listen()
        features, last = self._predictor.features, offset + len(waveform)
        windows = find_windows(self._energy[None], features, self._begin) if len(self._energy) else []
        known, fresh = {}, {}
        for window in windows:
            place = window.start, min(window.end, last)
            if place in self._current:
                before, embedding = self._current[place]
                known[place] = replace(window, speech=before.speech), embedding
            else:
                samples = stretch_window(waveform, window.start - offset, window.end - offset, features)
                fresh[place] = window, samples
        while some := list(islice(fresh, _AT_ONCE)):
            known |= zip(some, self._predictor.embed_windows(map(fresh.pop, some)), strict=True)
            yield
        self._current = dict(sorted(known.items()))
        self.heard_s = last / features.sample_rate
        heard = self._heard(adapt)
        self._settle()
        return heard

    def finish(self, adapt: bool = False) -> Generator[None, None, Answer]:
        """The answer that its file would get, with pauses; with `adapt`, by the statistics of all of it."""
        recording = Recording(self._name, RecordingWindows(self._pieces, self._predictor.features))
        yield from self._predictor.embed_in_turns(recording)
        return self._predictor.answer(recording, self._statistics(recording.embeddings()) if adapt else None)

    def _listen(self) -> tuple[torch.Tensor, int]:
        """Samples from some before the first settled frame on, and the number of the first; their levels are noted."""
        rate = self._predictor.features.sample_rate
        p, q = ratio(self._rate, rate)
        first, frame = max(0, self._begin - n_frames(_LEAD_S)), int(FRAME_S * rate)
        skipped = first * frame // q
        waveform = change_rate(self._samples(skipped * p, None), p, q)
        energy = frame_energy(waveform[first * frame - skipped * q :], rate).numpy()
        self._energy = np.concatenate([self._energy[:first], energy])
        return waveform, skipped * q

    def _samples(self, first: int, last: int | None) -> torch.Tensor:
        """Those that have arrived, [first, last), as float32."""
        with self._lock:
            pcm = bytes(memoryview(self._pcm)[2 * first : last and 2 * last])
        return torch.from_numpy(np.frombuffer(pcm, "<i2").astype(np.float32) / 2**15)

    def _pieces(self) -> Iterator[torch.Tensor]:
        """All of it at the rate of the network, in the pieces of a file."""
        length = int(PIECE_S * self._rate)
        starts = range(0, len(self._pcm) // 2, length)
        pieces = (self._samples(start, start + length) for start in starts)
        return resampled(pieces, *ratio(self._rate, self._predictor.features.sample_rate))

    def _settle(self) -> None:
        """Keep stretches that ended some time ago as they are, and look for others only after them."""
        until = self.heard_s - _SETTLED_S
        for place, (window, embedding) in list(self._current.items()):
            if window.span[1] <= until:
                self._settled.append((window, embedding))
                del self._current[place]
                self._begin = n_frames(window.span[1])
        next_s = min((window.span[0] for window, _ in self._current.values()), default=self.heard_s)
        self._begin = max(self._begin, n_frames(min(next_s, until) - SETTINGS.context_s))

    def _heard(self, adapt: bool) -> Heard:
        """The rows of the last minute."""
        seen = [*self._settled, *self._current.values()]
        statistics = None
        if adapt:
            voice = self._recording([each for each in seen if each[0].span[0] >= self._voice_from_s])
            embeddings = voice.embeddings()
            if len(embeddings.get(0, ())) >= FEWEST_TO_ADAPT:
                statistics = self._statistics(embeddings)
        recent = self._recording([each for each in seen if each[0].span[1] > self.heard_s - _SHOWN_S])
        rows = self._predictor.answer(recent, statistics).stretches
        goes_on = _goes_on_since([window for window, _ in self._current.values()], self.heard_s)
        return Heard(self.heard_s, [row | {"ended": row["start"] < goes_on} for row in rows], statistics is not None)

    def _recording(self, seen: list[tuple[Window, torch.Tensor]]) -> Recording:
        return Recording(self._name, RecordingWindows(list, self._predictor.features), seen=seen)

    def _statistics(self, embeddings: dict[int, torch.Tensor]) -> Statistics | None:
        """None where one emotion prevails, or nobody speaks: as Voices has it, these are judged as they are."""
        voices = Voices(self._predictor)
        voices.hear(embeddings)
        if not embeddings or voices.is_one_sided(0):
            return None
        of_voice = voices.statistics_of(0)
        return lambda path, channel: of_voice


def _goes_on_since(windows: list[Window], now_s: float) -> float:
    """Where the stretch begins that no pause has ended yet, with the parts that it was cut into; inf where none is."""
    start = math.inf
    for window in reversed(windows):
        end = window.span[1]
        if end != start and (start < math.inf or end + SETTINGS.pause_s <= now_s):
            break
        start = window.span[0]
    return start
