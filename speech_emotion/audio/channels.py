"""The channels of a recording: mixing them, separating them, and detecting that a mix loses something."""

from collections import Counter

import numpy as np

_CANCELS = 10**-1.0  # of the channels' energy: if their mean has less, they have opposite signs and cancel
_ALONE = 10**-1.5  # a channel is alone where all others are 15 dB fainter; crosstalk is fainter still
_ALONE_S = 0.5  # total time alone that two channels each need for the recording to hold different sounds
_FRAME_S = 0.05
_HEARD = 10**-3.5  # 35 dB below the loudest frame so far
_SILENT = 1e-8  # variance of a channel, -80 dBFS
_RELATED = 0.3  # least correlation of two channels that hold the same sound


def mix(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) → (samples,): the mean, or the loudest channel if the channels cancel."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(len(samples))
    mean = samples.mean(axis=1)
    energy = np.einsum("ij,ij->j", samples, samples)
    return samples[:, energy.argmax()] if mean @ mean < _CANCELS * energy.mean() else mean


def as_channels(samples: np.ndarray, n: int) -> np.ndarray:
    """(samples, channels) → (samples, n): with another number of channels, all `n` get the mix."""
    return samples if samples.shape[1] == n else np.repeat(mix(samples)[:, None], n, axis=1)


class Difference:
    """How the channels of a recording differ, as far as is known after the pieces added so far.

    `differ`: they hold different sounds, as the two ends of a phone call do. This requires two or more channels that
    are each alone (15 dB above all others) for half a second in total. A voice in one channel only, a voice between
    two, and what a codec changes in two equal channels do not count.
    `unrelated`: two channels that are not silent are not correlated, such as a voice and a time code.
    """

    def __init__(self) -> None:
        self._loudest = 0.0
        self._alone: Counter[int] = Counter()  # frames of each channel
        self._n_samples, self._sums, self._products = 0, 0.0, 0.0  # (channels,), (channels, channels)

    def add(self, samples: np.ndarray, rate: int) -> None:
        """Adds (samples, channels) at `rate` Hz."""
        frame = max(1, int(_FRAME_S * rate))
        n, channels = len(samples) // frame, samples.shape[1]
        if channels == 1:
            return
        if np.shape(self._sums) in ((), (channels,)):  # or their number has changed
            self._n_samples += len(samples)
            self._sums = self._sums + samples.sum(axis=0, dtype=np.float64)
            self._products = self._products + samples.T @ samples
        if n:
            frames = samples[: n * frame].reshape(n, frame, channels)
            energy = np.einsum("ijk,ijk->ik", frames, frames)
            second, first = np.sort(energy, axis=1)[:, -2:].T
            self._loudest = max(self._loudest, float(first.max()) / frame)
            alone = (first > _HEARD * self._loudest * frame) & (second < _ALONE * first)
            self._alone.update(energy.argmax(axis=1)[alone].tolist())

    @property
    def differ(self) -> bool:
        return sum(_FRAME_S * frames >= _ALONE_S for frames in self._alone.values()) > 1

    @property
    def unrelated(self) -> bool:
        if not self._n_samples:
            return False
        mean = self._sums / self._n_samples
        covariance = self._products / self._n_samples - np.outer(mean, mean)
        variance = covariance.diagonal()
        sounds = np.flatnonzero(variance > _SILENT)
        deviation = np.sqrt(variance[sounds])
        return bool((np.abs(covariance[np.ix_(sounds, sounds)]) < _RELATED * np.outer(deviation, deviation)).any())
