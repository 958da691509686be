"""A recording → the part of it that training sees, and the windows of it that are classified, whatever its length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from speech_emotion.audio.reading import AudioError

_FRAME_S = 0.01
_ONSET_ENERGY = 0.02  # share of the energy above the noise floor that has passed at the onset
_LEAD_S = 0.10  # median time between the start of the window and the onset in RAVDESS
_RAVDESS_LEAD_S = (-0.2, 0.5)  # and its range, but for 15 of the 2452 clips

_SHORTEST_S = 0.1
_SILENT = 1e-9  # mean square of a frame, -90 dBFS: what dithered 16-bit silence stays below
HEARD = 10**-3.5  # 35 dB below the loudest frame


@dataclass(frozen=True)
class WindowSettings:
    """Which part of a recording is classified."""

    sample_rate: int = 48_000  # Hz
    window_start_s: float = 1.0  # RAVDESS clips open with a second of silence
    window_s: float = 3.0

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate)


def frame_energy(samples: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """(samples,) → (frames,), the mean square of each whole frame of 10 ms."""
    frame = int(_FRAME_S * sample_rate)
    n = len(samples) // frame
    return samples[: n * frame].view(n, frame).square().mean(dim=1)


def find_onset(waveform: torch.Tensor, sample_rate: int) -> float:
    """The time in seconds at which 2 % of the energy above the noise floor has passed.

    A share of the energy, unlike a level threshold, is hardly moved by clicks, breaths and steady noise: on
    RAVDESS with white noise at 5 dB SNR its quartiles move by less than 20 ms. `waveform` is (samples,);
    silence and anything shorter than one frame start at 0.
    """
    energy = frame_energy(waveform, sample_rate)
    if not len(energy):
        return 0.0
    energy = (energy - 2 * energy.quantile(0.10)).clamp(min=0)
    energy = energy.clamp(max=float(energy.quantile(0.95)))  # one loud syllable must not own the total
    passed = energy.cumsum(dim=0)
    if passed[-1] == 0:
        return 0.0
    return int(torch.searchsorted(passed, _ONSET_ENERGY * passed[-1])) * _FRAME_S


def window_start(waveform: torch.Tensor, sample_rate: int, ravdess_start_s: float) -> float:
    """Where the classified window begins, in seconds; may be slightly negative (zero-padded in front).

    RAVDESS clips open with a second of silence and get the window at `ravdess_start_s`. A recording that begins
    elsewhere is aligned to it: its window opens as long before its onset as RAVDESS's does.
    """
    onset = find_onset(waveform, sample_rate)
    earliest, latest = _RAVDESS_LEAD_S
    if earliest <= onset - ravdess_start_s <= latest:
        return ravdess_start_s
    return onset - _LEAD_S


def crop_or_pad(waveform: torch.Tensor, start: int, length: int) -> torch.Tensor:
    """Samples [start, start + length) of (samples,), zeros where the recording has none: (length,)."""
    window = waveform.new_zeros(length)
    begin, end = max(start, 0), min(start + length, waveform.numel())
    if begin < end:
        window[begin - start : end - start] = waveform[begin:end]
    return window


def recording_window(waveform: torch.Tensor, settings: WindowSettings, margin_s: float = 0.0) -> torch.Tensor:
    """The classified part of a recording: (samples,) → (window_samples + 2 margins,)."""
    start_s = window_start(waveform, settings.sample_rate, settings.window_start_s) - margin_s
    length_s = settings.window_s + 2 * margin_s
    return crop_or_pad(waveform, round(start_s * settings.sample_rate), round(length_s * settings.sample_rate))


@dataclass(frozen=True)
class Window:
    start: int  # samples; may be slightly negative
    level: float  # mean square of its loudest frame
    speaks: bool = True  # whether somebody does; RecordingWindows does not ask


class RecordingWindows:
    """The windows of one recording, found while it is read: memory does not depend on its length.

    The first window lies where `recording_window` puts it, by what the first piece holds. More follow in steps of
    half a window, while that much of what is heard lies beyond the end of the last; a RAVDESS clip has one.
    Those that follow are candidates until the whole recording is known; then `counts` tells.
    """

    def __init__(self, pieces: Iterable[torch.Tensor], settings: WindowSettings):
        """`pieces` of the recording are (samples,) at the settings' sample rate."""
        self._pieces = pieces
        self._settings = settings
        self._frame = int(_FRAME_S * settings.sample_rate)
        self._n_frames, self._loudest = 0, 0.0  # measured so far
        self._late = torch.empty(0), torch.empty(0, dtype=torch.int64)  # energies and numbers of frames: see _measure
        self.n_samples = 0  # read so far

    def __iter__(self) -> Iterator[tuple[Window, torch.Tensor]]:
        """Each window with its samples, (window_samples,).

        Raises AudioError `too short` below 0.1 s and `silent` when no 10 ms reach -90 dBFS.
        """
        length = self._settings.window_samples
        buffer, offset = torch.empty(0), 0  # `offset` is where in the recording the buffer begins
        first = start = None
        for piece in self._pieces:
            buffer = torch.cat([buffer, piece]) if len(buffer) else piece
            self.n_samples += len(piece)
            self._measure(buffer[self._n_frames * self._frame - offset :])
            if first is None:
                seconds = window_start(piece, self._settings.sample_rate, self._settings.window_start_s)
                first = start = round(seconds * self._settings.sample_rate)
            while start + length <= self.n_samples:
                window, samples = self._window(buffer, start, offset)
                if start == first or window.level >= max(_SILENT, HEARD * self._loudest):
                    yield window, samples
                start += length // 2
            keep = max(offset, min(start, self._n_frames * self._frame))
            buffer, offset = buffer[keep - offset :], keep
        if self.n_samples < _SHORTEST_S * self._settings.sample_rate:
            raise AudioError("too short")
        if self._loudest < _SILENT:
            raise AudioError("silent")
        if start == first:
            yield self._window(buffer, start, offset)

    def counts(self, windows: list[Window]) -> list[bool]:
        """Which of all its windows are heard; the first counts where no other does."""
        threshold = HEARD * self._loudest
        energies, frames = self._late
        end = (int(frames[energies >= threshold][-1]) + 1) * self._frame
        length = self._settings.window_samples
        heard = [
            window.level >= threshold and (window is windows[0] or window.start + length <= end) for window in windows
        ]
        return heard if any(heard) else [True] + [False] * (len(windows) - 1)

    def span(self, window: Window) -> tuple[float, float]:
        """Start and end of a window in seconds, as far as the recording reaches."""
        end = min(window.start + self._settings.window_samples, self.n_samples)
        return max(window.start, 0) / self._settings.sample_rate, end / self._settings.sample_rate

    def _measure(self, samples: torch.Tensor) -> None:
        """Of all frames keep those that are heard and louder than all that follow: the last one heard is of them."""
        energy = frame_energy(samples, self._settings.sample_rate)
        if not len(energy):
            return
        self._loudest = max(self._loudest, float(energy.max()))
        frames = torch.arange(self._n_frames, self._n_frames + len(energy))
        self._n_frames += len(energy)
        energies, frames = torch.cat([self._late[0], energy]), torch.cat([self._late[1], frames])
        following = F.pad(energies.flip(0).cummax(0).values.flip(0)[1:], (0, 1), value=-1.0)
        late = (energies > following) & (energies >= HEARD * self._loudest)
        self._late = energies[late], frames[late]

    def _window(self, buffer: torch.Tensor, start: int, offset: int) -> tuple[Window, torch.Tensor]:
        samples = crop_or_pad(buffer, start - offset, self._settings.window_samples)
        return Window(start, float(frame_energy(samples, self._settings.sample_rate).max())), samples
