"""A recording of any length → the windows of it that are classified."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import crop_or_pad, window_start
from speech_emotion.models.mfcc import FeatureSettings

_SHORTEST_S = 0.1
_FRAME_S = 0.01
_SILENT = 1e-9  # mean square of a frame, -90 dBFS: what dithered 16-bit silence stays below
_HEARD = 10**-3.5  # 35 dB below the loudest frame


@dataclass(frozen=True)
class Window:
    start: int  # samples; may be slightly negative
    level: float  # mean square of its loudest frame


class RecordingWindows:
    """The windows of one recording, found while it is read: memory does not depend on its length.

    The first window lies where `recording_window` puts it, by what the first piece holds. More follow in steps of
    half a window, while that much of what is heard lies beyond the end of the last; a RAVDESS clip has one.
    Those that follow are candidates until the whole recording is known; then `counts` tells.
    """

    def __init__(self, pieces: Iterable[torch.Tensor], settings: FeatureSettings):
        """`pieces` of the recording are (samples,) at the settings' sample rate."""
        self._pieces = pieces
        self._settings = settings
        self._frame = int(_FRAME_S * settings.sample_rate)
        self._energy = torch.empty(0)  # mean square of each frame
        self.n_samples = 0  # read so far

    def __iter__(self) -> Iterator[tuple[Window, torch.Tensor]]:
        """Each window with its samples, (window_samples,).

        Raises AudioError `too short` below 0.1 s and `silent` when no 10 ms reach -90 dBFS.
        """
        length = self._settings.window_samples
        buffer, offset = torch.empty(0), 0  # `offset` is where in the recording the buffer begins
        first = start = None
        loudest = 0.0
        for piece in self._pieces:
            buffer = torch.cat([buffer, piece]) if len(buffer) else piece
            self.n_samples += len(piece)
            measured = len(self._energy) * self._frame
            self._energy = torch.cat([self._energy, self._frames(buffer[measured - offset :])])
            loudest = float(self._energy.max()) if len(self._energy) else 0.0
            if first is None:
                seconds = window_start(piece, self._settings.sample_rate, self._settings.window_start_s)
                first = start = round(seconds * self._settings.sample_rate)
            while start + length <= self.n_samples:
                window, samples = self._window(buffer, start, offset)
                if start == first or window.level >= max(_SILENT, _HEARD * loudest):
                    yield window, samples
                start += length // 2
            keep = max(offset, min(start, len(self._energy) * self._frame))
            buffer, offset = buffer[keep - offset :], keep
        if self.n_samples < _SHORTEST_S * self._settings.sample_rate:
            raise AudioError("too short")
        if loudest < _SILENT:
            raise AudioError("silent")
        if start == first:
            yield self._window(buffer, start, offset)

    def counts(self, windows: list[Window]) -> list[bool]:
        """Which of all its windows are heard; the first counts where no other does."""
        threshold = _HEARD * float(self._energy.max())
        end = (int((self._energy >= threshold).nonzero().max()) + 1) * self._frame
        length = self._settings.window_samples
        heard = [
            window.level >= threshold and (window is windows[0] or window.start + length <= end) for window in windows
        ]
        return heard if any(heard) else [True] + [False] * (len(windows) - 1)

    def span(self, window: Window) -> tuple[float, float]:
        """Start and end of a window in seconds, as far as the recording reaches."""
        end = min(window.start + self._settings.window_samples, self.n_samples)
        return max(window.start, 0) / self._settings.sample_rate, end / self._settings.sample_rate

    def _window(self, buffer: torch.Tensor, start: int, offset: int) -> tuple[Window, torch.Tensor]:
        samples = crop_or_pad(buffer, start - offset, self._settings.window_samples)
        return Window(start, float(self._frames(samples).max())), samples

    def _frames(self, samples: torch.Tensor) -> torch.Tensor:
        """(samples,) → the mean square of each whole frame."""
        n = len(samples) // self._frame
        return samples[: n * self._frame].view(n, self._frame).square().mean(dim=1)
