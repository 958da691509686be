"""A recording of any length → the windows that are classified, one for each stretch of speech."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import zip_longest

import numpy as np
import torch
from torch.nn.functional import pad

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.stretches import (
    FRAME_S,
    SETTINGS,
    SILENT,
    Stretch,
    find_onset,
    find_stretches,
    frame_energy,
    n_frames,
    onset_frame,
    stretches_of_segments,
    without_crosstalk,
    without_knocks,
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
    onset = onset_frame(without_knocks(frame_energy(waveform, sample_rate).numpy()))
    return _start_s(onset * FRAME_S, ravdess_start_s)


def _start_s(onset_s: float, ravdess_start_s: float) -> float:
    earliest, latest = _RAVDESS_LEAD_S
    return ravdess_start_s if earliest <= onset_s - ravdess_start_s <= latest else onset_s - _LEAD_S


def recording_window(waveform: torch.Tensor, settings: WindowSettings, margin_s: float = 0.0) -> torch.Tensor:
    """The window of a clip as used in training: (samples,) → (window_samples + 2 margins,)."""
    start_s = window_start(waveform, settings.sample_rate, settings.window_start_s) - margin_s
    length_s = settings.window_s + 2 * margin_s
    return crop_or_pad(waveform, round(start_s * settings.sample_rate), round(length_s * settings.sample_rate))


def crop_or_pad(waveform: torch.Tensor, start: int, length: int) -> torch.Tensor:
    """Samples [start, start + length) of (samples,), zero-padded at both ends: (length,). A view if all are there."""
    inner = waveform[max(0, start) : max(0, start + length)]
    if len(inner) == length:
        return inner
    before = min(max(0, -start), length)
    return pad(inner, (before, length - before - len(inner)))


def stretch_window(waveform: torch.Tensor, start: int, end: int, settings: WindowSettings) -> torch.Tensor:
    """The window of (samples,) that begins at `start`, with zeros from `end` on, if that is within it."""
    return crop_or_pad(waveform[: max(0, end)], start, settings.window_samples)


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
    segment: int | None = None  # its number, if the user gave segments


class RecordingWindows:
    """The windows of one recording, in order of time, with their samples.

    The recording is read twice, the first time to measure its level, unless it comes as one piece. Memory grows by 4
    bytes per 10 ms, and the windows do not depend on the size of the pieces.

    >>> for window, samples in RecordingWindows(partial(stream_audio, "talk.mp3", 48_000), WindowSettings()):
    ...     print(window.span)
    """

    def __init__(
        self,
        read: Callable[[], Iterable[torch.Tensor]],
        settings: WindowSettings,
        segments: Sequence[tuple[float, float]] = (),
    ):
        """`read()` starts anew, and yields pieces (samples,) or (C, samples) at the settings' sample rate.

        `segments`, from start to end in seconds, are classified in place of the stretches of speech that are found.
        """
        self._read, self._settings, self._segments = read, settings, segments
        self._windows: list[Window] | None = None
        self._only_piece: torch.Tensor | None = None  # of a recording that comes as one
        self.length_s = 0.0  # until `measure` has read it
        self.n_channels = 1  # until `measure` counts them; a live recording has one and is never measured

    def __iter__(self) -> Iterator[tuple[Window, torch.Tensor]]:
        """Each window with its samples, (window_samples,).

        Raises AudioError `too short` below 0.1 s, and `silent` if no 10 ms reach -90 dBFS.
        """
        windows = self.find()
        pieces = self._read() if self._only_piece is None else [self._only_piece]
        pieces, buffer, offset = map(torch.atleast_2d, pieces), torch.empty(self.n_channels, 0), 0
        for window in windows:
            while window.end > offset + buffer.shape[1] and (piece := next(pieces, None)) is not None:
                needed = buffer[:, max(0, window.start - offset) :]
                offset += buffer.shape[1] - needed.shape[1]
                buffer = torch.cat([needed, piece], dim=1) if needed.numel() else piece
            start, end = window.start - offset, window.end - offset
            yield window, stretch_window(buffer[window.channel], start, end, self._settings)
        for _ in pieces:  # whoever reads notices the end
            pass

    def find(self) -> list[Window]:
        """All windows, without their samples; raises AudioError as the iteration does."""
        for _ in self.measure():
            pass
        return self._windows

    def measure(self) -> Iterator[None]:
        """Does the work of find, yielding after every piece that is read."""
        if self._windows is not None:
            return
        rate, n_samples = self._settings.sample_rate, 0
        rest = torch.empty(0)  # less than a frame
        levels = bytearray()  # a list of small arrays would keep the C library from reusing the memory between them
        for piece in map(torch.atleast_2d, self._read()):
            self._only_piece = None if n_samples else piece
            n_samples += piece.shape[1]
            self.n_channels = len(piece)
            sound = torch.cat([rest, piece], dim=1) if rest.numel() else piece
            energy = frame_energy(sound, rate).T.numpy()  # (T, C)
            levels += energy.tobytes()
            rest = sound[:, len(energy) * round(FRAME_S * rate) :]
            yield
        self.length_s = n_samples / rate
        if self.length_s < _SHORTEST_S:
            raise AudioError("too short")
        energy = np.frombuffer(levels, np.float32).reshape(-1, self.n_channels).T
        if energy.max() < SILENT:
            raise AudioError("silent")
        if self._segments:
            self._windows = segment_windows(energy, self._segments, self._settings)
        else:
            self._windows = find_windows(energy, self._settings)


def find_windows(energy: np.ndarray, settings: WindowSettings, begin: int = 0) -> list[Window]:
    """The level of a recording (C, T) → its windows, each placed as in training: 0.1 s before the onset.

    Only those from frame `begin` on; then there are windows before them, which were found earlier.
    """
    windows = []
    energy = without_crosstalk(np.stack([without_knocks(channel) for channel in energy]))
    for channel, level in enumerate(energy):
        stretches = find_stretches(level, settings.window_s - _LEAD_S, begin=begin)
        if stretches and not begin and (window := _window_of_all(channel, level, stretches, settings)):
            windows.append(window)
            continue
        for stretch, after in zip_longest(stretches, [following.start for following in stretches[1:]]):
            latest_s = (len(level) if after is None else after) * FRAME_S
            windows.append(_window_of_one(channel, stretch, latest_s, settings))
    return sorted(windows, key=lambda window: (window.start, window.channel))


def segment_windows(
    energy: np.ndarray, segments: Sequence[tuple[float, float]], settings: WindowSettings
) -> list[Window]:
    """The level of a recording (C, T) → the windows of the segments in which a voice is heard."""
    windows = []
    spans = [(n_frames(start), max(n_frames(end), n_frames(start) + 1)) for start, end in segments]
    for channel, level in enumerate(energy):
        for number, stretches in enumerate(stretches_of_segments(level, spans, settings.window_s - _LEAD_S)):
            for stretch in stretches:
                window = _window_of_one(channel, stretch, segments[number][1], settings)
                windows.append(replace(window, segment=number))
    return sorted(windows, key=lambda window: (window.start, window.channel))


def _window_of_all(
    channel: int, energy: np.ndarray, stretches: list[Stretch], settings: WindowSettings
) -> Window | None:
    """One window for all stretches of a channel, if they fit; its end is not silenced."""
    first, last = stretches[0].start, stretches[-1].end
    start_s = _start_s(find_onset(energy, first, last, (0, len(energy))) * FRAME_S, settings.window_start_s)
    end_s = start_s + settings.window_s
    overhang_s = _RAVDESS_OVERHANG_S if start_s == settings.window_start_s else SETTINGS.overhang_s
    return _window(channel, stretches, start_s, end_s, settings) if last * FRAME_S <= end_s + overhang_s else None


def _window_of_one(channel: int, stretch: Stretch, latest_s: float, settings: WindowSettings) -> Window:
    """The window of one stretch, which is silenced some time after its end, or at `latest_s`."""
    end_s = min(stretch.end * FRAME_S + SETTINGS.tail_s, latest_s)
    return _window(channel, [stretch], stretch.onset * FRAME_S - _LEAD_S, end_s, settings)


def _window(channel: int, stretches: list[Stretch], start_s: float, end_s: float, settings: WindowSettings) -> Window:
    start = round(start_s * settings.sample_rate)
    end = min(round(end_s * settings.sample_rate), start + settings.window_samples)
    span = round(stretches[0].start * FRAME_S, 2), round(stretches[-1].end * FRAME_S, 2)
    return Window(channel, start, end, span, sum(stretch.n_heard for stretch in stretches))
