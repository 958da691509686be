"""The waveform envelope of a recording, for the web page."""

import numpy as np
from matplotlib.axes import Axes

from speech_emotion.evaluation.plots import BLUE

_PARTS_HZ = 100  # parts per second, before they are merged


class Envelope:
    """The minimum and maximum of equal parts of each channel, while a recording is read piece by piece.

    It needs a kilobyte per second and channel until it is `merged`.
    """

    def __init__(self):
        self.duration_s = 0.0
        self._extremes: list[list[np.ndarray]] = []

    def add(self, samples: np.ndarray, rate: int) -> None:
        """A piece, (samples,) or (samples, channels), at `rate` Hz."""
        starts = np.arange(0, len(samples) * _PARTS_HZ, rate) // _PARTS_HZ
        by_channel = samples.reshape(len(samples), -1).T
        self._extremes.append([ufunc.reduceat(by_channel, starts, axis=1) for ufunc in (np.minimum, np.maximum)])
        self.duration_s += len(samples) / rate

    def merged(self, n_points: int = 1000) -> np.ndarray:
        """(channels, 2, at most `n_points`)."""
        low, high = np.concatenate(self._extremes, axis=2)
        starts = np.arange(0, low.shape[1], -(-low.shape[1] // n_points))
        merged = np.minimum.reduceat(low, starts, axis=1), np.maximum.reduceat(high, starts, axis=1)
        return np.stack(merged, axis=1)


def plot_envelope(envelope: np.ndarray, duration_s: float, ax: Axes) -> None:
    """Draw an envelope (2, points), the minimum and maximum of equal parts, over time."""
    edges = np.linspace(0, duration_s, envelope.shape[1] + 1)
    ax.stairs(envelope[1], edges, baseline=envelope[0], fill=True, color=BLUE)
    ax.set(xlabel="time (s)", xlim=(0, duration_s), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.label_outer()
