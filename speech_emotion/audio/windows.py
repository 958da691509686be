"""A recording of any length → the windows that are classified, one for each stretch of speech."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.stretches import (
    FRAME_S,
    SETTINGS,
    SILENT,
    Stretch,
    find_onset,
    find_stretches,
    frame_energy,
    onset_frame,
    without_crosstalk,
)

_LEAD_S = 0.10  # median time between the start of the window and the onset in RAVDESS
_RAVDESS_LEAD_S = (-0.2, 0.5)  # its range, except for 15 of the 2452 clips
_RAVDESS_OVERHANG_S = 1.5  # by which sung clips exceed their window
_SHORTEST_S = 0.1


@dataclass(frozen=True)
class WindowSettings:
    """Which part of a recording is classified."""

    sample_rate: int = 48_000  # Hz
    window_start_s: float = 1.0  # RAVDESS clips begin with a second of silence
    window_s: float = 3.0

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate)


def window_start(waveform: torch.Tensor, sample_rate: int, ravdess_start_s: float) -> float:
    """Where the window of a clip begins, in seconds; may be slightly negative (zero-padded in front).

    RAVDESS clips begin with a second of silence, and their window begins at `ravdess_start_s`. In any other recording,
    the window begins as long before the onset as it does in RAVDESS.
    """
    onset_s = onset_frame(frame_energy(waveform, sample_rate).numpy()) * FRAME_S
    return ravdess_start_s if _opens_like_ravdess(onset_s, ravdess_start_s) else onset_s - _LEAD_S


def recording_window(waveform: torch.Tensor, settings: WindowSettings, margin_s: float = 0.0) -> torch.Tensor:
    """The window of a clip as used in training: (samples,) → (window_samples + 2 margins,)."""
    start_s = window_start(waveform, settings.sample_rate, settings.window_start_s) - margin_s
    length_s = settings.window_s + 2 * margin_s
    return crop_or_pad(waveform, round(start_s * settings.sample_rate), round(length_s * settings.sample_rate))


def crop_or_pad(waveform: torch.Tensor, start: int, length: int) -> torch.Tensor:
    """Samples [start, start + length) of (samples,), zero-padded at both ends: (length,)."""
    window = waveform.new_zeros(length)
    begin, end = max(start, 0), min(start + length, waveform.numel())
    if begin < end:
        window[begin - start : end - start] = waveform[begin:end]
    return window


def stretch_window(
    waveform: torch.Tensor, start: int, end: int, settings: WindowSettings, margin: int = 0
) -> torch.Tensor:
    """The window of (samples,) that begins at `start`, with zeros from `end` on, if that is within it.

    With `margin` more samples on both sides: (window_samples + 2 margins,).
    """
    is_cut_off = end < start + settings.window_samples
    heard = waveform[: max(0, end)] if is_cut_off else waveform
    return crop_or_pad(heard, start - margin, settings.window_samples + 2 * margin)


class Speech(IntEnum):
    """How certain it is that a window contains speech."""

    NONE = 0
    FAINT = 1
    CLEAR = 2


@dataclass(frozen=True)
class Window:
    """The window of one stretch of speech: `window_samples` from `start` on, zeros from `end` on."""

    channel: int
    start: int  # may be slightly negative
    end: int
    span: tuple[float, float]  # of the stretch, in seconds
    weight: int  # number of audible frames
    speech: Speech = Speech.CLEAR  # RecordingWindows does not test for speech


class RecordingWindows:
    """The windows of one recording, in order of time, with their samples.

    The recording is read twice, the first time to measure its level, unless it comes as one piece. Memory grows by 4
    bytes per 10 ms, and the windows do not depend on the size of the pieces.

    >>> for window, samples in RecordingWindows(partial(stream_audio, "talk.mp3", 48_000), WindowSettings()):
    ...     print(window.span)
    """

    def __init__(self, read: Callable[[], Iterable[torch.Tensor]], settings: WindowSettings):
        """`read()` starts anew, and yields pieces (samples,) or (C, samples) at the settings' sample rate."""
        self._read, self._settings = read, settings
        self._windows: list[Window] | None = None
        self.length_s = 0.0  # until `measure` has read it
        self.n_channels = 1  # until `measure` counts them; a live recording has one and is never measured

    def __iter__(self) -> Iterator[tuple[Window, torch.Tensor]]:
        """Each window with its samples, (window_samples,).

        Raises AudioError `too short` below 0.1 s, and `silent` if no 10 ms reach -90 dBFS.
        """
        windows = self.find()
        buffer, offset = torch.empty(0), 0  # `offset`: position of the buffer in the recording
        waiting = iter([*windows, None])
        window = next(waiting)
        for piece in [*self._held] or map(torch.atleast_2d, self._read()):
            buffer = torch.cat([buffer, piece], dim=1) if buffer.numel() else piece
            while window and window.end <= offset + buffer.shape[1]:
                yield window, self._samples(window, buffer, offset)
                window = next(waiting)
            keep = buffer.shape[1] if window is None else max(0, min(window.start - offset, buffer.shape[1]))
            buffer, offset = buffer[:, keep:], offset + keep
        while window:  # windows that end after the recording
            yield window, self._samples(window, buffer, offset)
            window = next(waiting)

    def find(self) -> list[Window]:
        """All windows, without their samples; raises AudioError as the iteration does."""
        for _ in self.measure():
            pass
        return self._windows

    def measure(self) -> Iterator[None]:
        """Does the work of find, yielding after every piece that is read."""
        if self._windows is not None:
            return
        n_samples, rest = 0, None
        levels = bytearray()  # a list of small arrays would keep the C library from reusing the memory between them
        self._held = []
        for piece in map(torch.atleast_2d, self._read()):
            self._held = [piece] if n_samples == 0 else []
            n_samples += piece.shape[1]
            piece = piece if rest is None else torch.cat([rest, piece], dim=1)
            of_piece = frame_energy(piece, self._settings.sample_rate).T.numpy()  # (T, C)
            levels += of_piece.tobytes()
            rest = piece[:, len(of_piece) * round(FRAME_S * self._settings.sample_rate) :]
            yield
        self.length_s = n_samples / self._settings.sample_rate
        if self.length_s < _SHORTEST_S:
            raise AudioError("too short")
        self.n_channels = len(piece)
        energy = np.frombuffer(levels, np.float32).reshape(-1, self.n_channels).T
        if energy.max() < SILENT:
            raise AudioError("silent")
        self._windows = find_windows(energy, self._settings)

    def _samples(self, window: Window, buffer: torch.Tensor, offset: int) -> torch.Tensor:
        own = buffer[window.channel]
        return stretch_window(own, window.start - offset, window.end - offset, self._settings)


def find_windows(energy: np.ndarray, settings: WindowSettings, begin: int = 0) -> list[Window]:
    """The level of a recording (C, T) → its windows, each placed as in training: 0.1 s before the onset.

    Only those from frame `begin` on; then there are windows before them, which were found earlier.
    """
    windows = []
    for channel, own in enumerate(without_crosstalk(energy)):
        stretches = find_stretches(own, settings.window_s - _LEAD_S, begin=begin)
        if not stretches:
            continue
        if not begin and (only := _only_window(channel, own, stretches, settings)):
            windows.append(only)
            continue
        following = [each.start for each in stretches[1:]]
        for each, after in zip(stretches, [*following, len(own)], strict=True):
            start_s, end_s = each.onset * FRAME_S - _LEAD_S, min(each.end * FRAME_S + SETTINGS.tail_s, after * FRAME_S)
            windows.append(_window(channel, [each], start_s, end_s, settings))
    return sorted(windows, key=lambda window: (window.start, window.channel))


def _only_window(channel: int, energy: np.ndarray, stretches: list[Stretch], settings: WindowSettings) -> Window | None:
    """A single window for all of a channel's stretches, if they fit into one; its end is not silenced."""
    first, last = stretches[0].start, stretches[-1].end
    onset_s = find_onset(energy, first, last, (0, len(energy))) * FRAME_S
    start_s, overhang_s = onset_s - _LEAD_S, SETTINGS.overhang_s
    if _opens_like_ravdess(onset_s, settings.window_start_s):
        start_s, overhang_s = settings.window_start_s, _RAVDESS_OVERHANG_S
    if last * FRAME_S > start_s + settings.window_s + overhang_s:
        return None
    return _window(channel, stretches, start_s, start_s + settings.window_s, settings)


def _window(channel: int, stretches: list[Stretch], start_s: float, end_s: float, settings: WindowSettings) -> Window:
    start = round(start_s * settings.sample_rate)
    end = min(round(end_s * settings.sample_rate), start + settings.window_samples)
    span = round(stretches[0].start * FRAME_S, 2), round(stretches[-1].end * FRAME_S, 2)
    return Window(channel, start, end, span, sum(each.n_heard for each in stretches))


def _opens_like_ravdess(onset_s: float, ravdess_start_s: float) -> bool:
    earliest, latest = _RAVDESS_LEAD_S
    return earliest <= onset_s - ravdess_start_s <= latest
