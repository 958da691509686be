"""The waveform envelope of a recording, for the web page."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from speech_emotion.audio.reading import read_pieces
from speech_emotion.evaluation.plots import BLUE

_PARTS_HZ = 100  # parts per second, before they are merged


def load_envelope(
    path: str | Path, channels: str = "mix", n_points: int = 1000
) -> Generator[None, None, tuple[np.ndarray, float]]:
    """The envelope of a recording of any length; yields after each piece, and needs a kilobyte per second.

    Returns the minimum and maximum of equal parts of each channel, (channels, 2, at most `n_points`), and the duration
    in seconds; `channels` is "mix" (one channel) or "each". Raises AudioError as load_audio does.
    """
    extremes, duration_s = [], 0.0
    for samples, rate in read_pieces(path, channels=channels):
        starts = np.arange(0, len(samples) * _PARTS_HZ, rate) // _PARTS_HZ
        by_channel = samples.reshape(len(samples), -1).T
        extremes.append([ufunc.reduceat(by_channel, starts, axis=1) for ufunc in (np.minimum, np.maximum)])
        duration_s += len(samples) / rate
        yield
    low, high = np.concatenate(extremes, axis=2)
    starts = np.arange(0, low.shape[1], -(-low.shape[1] // n_points))
    merged = np.minimum.reduceat(low, starts, axis=1), np.maximum.reduceat(high, starts, axis=1)
    return np.stack(merged, axis=1), duration_s


def plot_envelope(envelope: np.ndarray, duration_s: float, ax: Axes) -> None:
    """Draw an envelope (2, points), the minimum and maximum of equal parts, over time."""
    edges = np.linspace(0, duration_s, envelope.shape[1] + 1)
    ax.stairs(envelope[1], edges, baseline=envelope[0], fill=True, color=BLUE)
    ax.set(xlabel="time (s)", xlim=(0, duration_s), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.label_outer()
