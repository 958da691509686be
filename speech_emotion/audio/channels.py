"""The channels of a recording: mixed, or each for itself; and whether mixing loses something."""

from collections import Counter

import numpy as np

_CANCELS = 10**-1.0  # of the channels' energy: a mean with less than that is what is left of channels of opposite sign
_ALONE = 10**-1.5  # a channel is alone where all others have 15 dB less than it: what leaks into them has less still
_ALONE_S = 0.5  # in all, and for two channels, for the recording to hold different sounds
_FRAME_S = 0.05
_HEARD = 10**-3.5  # 35 dB below the loudest frame so far


def mix(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) → (samples,): the mean, or the loudest channel where the channels cancel."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(len(samples))
    mean = samples.mean(axis=1)
    energy = np.einsum("ij,ij->j", samples, samples)
    return samples[:, energy.argmax()] if mean @ mean < _CANCELS * energy.mean() else mean


def as_channels(samples: np.ndarray, n: int) -> np.ndarray:
    """(samples, any channels) → (samples, n): those of another number are mixed, and each of the `n` has the mix."""
    return samples if samples.shape[1] == n else np.repeat(mix(samples)[:, None], n, axis=1)


class Difference:
    """Whether the channels of a recording hold different sounds, as the two ends of a phone call do.

    That is so where two or more of them are alone (15 dB above all others) for half a second in all. Neither a voice
    that is heard in one channel only, nor one between two, nor what a codec does to two equal ones counts.
    """

    def __init__(self) -> None:
        self._loudest = 0.0
        self._alone: Counter[int] = Counter()  # frames of each channel

    def add(self, samples: np.ndarray, rate: int) -> bool:
        """The next (samples, channels) at `rate` Hz → what is known after them."""
        frame = max(1, int(_FRAME_S * rate))
        n, channels = len(samples) // frame, samples.shape[1]
        if n and channels > 1:
            frames = samples[: n * frame].reshape(n, frame, channels)
            energy = np.einsum("ijk,ijk->ik", frames, frames)
            second, first = np.sort(energy, axis=1)[:, -2:].T
            self._loudest = max(self._loudest, float(first.max()) / frame)
            alone = (first > _HEARD * self._loudest * frame) & (second < _ALONE * first)
            self._alone.update(energy.argmax(axis=1)[alone].tolist())
        return sum(_FRAME_S * frames >= _ALONE_S for frames in self._alone.values()) > 1
