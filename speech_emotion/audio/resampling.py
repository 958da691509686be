"""Any audio file → float32 samples at one sample rate, without what lies below speech.

C: channels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, pairwise
from pathlib import Path

import numpy as np
import soxr
import torch
from torch.nn.functional import conv1d

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import read_pieces


def load_audio(path: str | Path, sample_rate: int, **reading) -> torch.Tensor:
    """Decode a whole file; `reading` are the options of read_pieces.

    Returns (samples,) float32 at `sample_rate` Hz, or (C, samples) where `channels` is "each".
    Raises AudioError if the file cannot be decoded, is empty, or holds NaN or infinite samples.
    """
    pieces = list(stream_audio(path, sample_rate, **reading))
    return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]


def stream_audio(path: str | Path, sample_rate: int, **reading) -> Iterator[torch.Tensor]:
    """The samples of load_audio in pieces of about 30 s; may raise AudioError after some of them."""
    return resample_pieces(read_pieces(path, **reading), sample_rate)


def resample_pieces(pieces: Iterable[Block], sample_rate: int) -> Iterator[torch.Tensor]:
    """What read_pieces gives → the same, filtered and at `sample_rate` Hz: (samples,) or (C, samples)."""
    for rate, of_rate in groupby(pieces, key=lambda piece: piece[1]):
        converter = Converter(rate, sample_rate)
        for (samples, _), following in pairwise(chain(of_rate, [None])):
            yield converter(samples, is_last=following is None)


class Converter:
    """Filters and resamples a recording of one rate that comes in pieces; the result does not depend on their sizes."""

    def __init__(self, rate: int, sample_rate: int):
        self._rate, self._sample_rate = rate, sample_rate
        self._high_pass = HighPass(rate)
        self._resampler: soxr.ResampleStream | None = None

    def __call__(self, samples: np.ndarray, is_last: bool = False) -> torch.Tensor:
        """(samples,) or (samples, C) → (samples,) or (C, samples), less than 0.1 s of them later.

        If the piece `is_last`, everything that is left.
        """
        piece = torch.from_numpy(np.ascontiguousarray(samples.T, dtype=np.float32))
        high = self._high_pass(torch.atleast_2d(piece), is_last)
        if self._rate != self._sample_rate:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(self._rate, self._sample_rate, len(high), dtype="float32")
            resampled = self._resampler.resample_chunk(np.ascontiguousarray(high.T.numpy()), is_last)
            high = torch.from_numpy(np.ascontiguousarray(resampled.T))
        return high if samples.ndim == 2 else high[0]


@dataclass(frozen=True)
class HighPassSettings:
    """What is removed: an offset, rumble and hum.

    Chosen on training clips of RAVDESS's split 0 (results/EXPERIMENTS.md).
    """

    cutoff_hz: float = 73.0  # between hum, at 50 or 60 Hz, and the pitch of low voices, from 85 Hz on
    length_s: float = 0.094  # of the filter, which sets how steep it is: 31 dB of attenuation at 60 Hz, none at 85 Hz
    kaiser_beta: float = 3.4  # of its window; 40 dB
    node_hz: int = 1000  # rate at which the sound below the cutoff is computed
    offset_s: float = 0.02  # at both ends, the recording is continued by the mean of this; a period of hum at 50 Hz


class HighPass:
    """Filters a recording that comes in pieces; the result does not depend on their sizes.

    Linear phase, so that nothing moves: the sound minus what a low-pass (Kaiser window) leaves of it. The low-pass runs
    at about 1 kHz, between triangles that decimate and interpolate; IIR at 48 kHz takes several times as long.
    Of sound around 1 kHz, an alias 46 dB fainter is left below 70 Hz.
    """

    def __init__(self, rate: int):
        settings = HighPassSettings()
        self._step = max(1, round(rate / settings.node_hz))  # samples between nodes
        self._taps = _low_pass(rate / self._step, settings) / self._step  # because nodes are sums, not means
        self._n_around = len(self._taps) // 2 + 1  # steps on both sides that a step depends on
        self._n_offset = round(settings.offset_s * rate)
        rising = (torch.arange(self._step) + 0.5) / self._step
        self._ramps = torch.stack([1 - rising, rising])  # (2, step): the shares of the nodes on the left, on the right
        self._sound: torch.Tensor | None = None  # what is needed again: steps that were returned, then the others
        self._has_begun = False

    def __call__(self, piece: torch.Tensor, is_last: bool = False) -> torch.Tensor:
        """(C, samples) → (C, samples), about 50 ms later; if the piece `is_last`, everything that is left."""
        sound = piece if self._sound is None else torch.cat([self._sound, piece], dim=1)
        if not self._has_begun and not is_last and sound.shape[1] < self._n_offset:
            self._sound = sound
            return sound[:, :0]
        around = self._n_around * self._step
        before = 0 if self._has_begun else around
        n_left = before + sound.shape[1] - around  # samples that were not returned
        after = around + -n_left % self._step if is_last else 0
        if before or after:
            first, last = sound[:, : self._n_offset], sound[:, -self._n_offset :]
            first, last = (part.mean(dim=1, keepdim=True) for part in (first, last))
            sound = torch.cat([first.expand(-1, before), sound, last.expand(-1, after)], dim=1)
        self._has_begun = True
        n_steps = max(0, sound.shape[1] // self._step - 2 * self._n_around)  # that can be returned
        self._sound = sound[:, n_steps * self._step :].clone()
        if not n_steps:
            return sound[:, :0]
        steps = sound[:, : n_steps * self._step + 2 * around].unflatten(1, (-1, self._step))
        left, right = (self._ramps @ steps.mT).unbind(dim=1)
        low = conv1d((right[:, :-1] + left[:, 1:])[:, None], self._taps[None, None])[:, 0]
        ends = torch.stack([low[:, :-1], low[:, 1:]], dim=2)  # (C, steps, 2)
        steps = steps[:, self._n_around : -self._n_around]
        # In place, because another copy takes longer: torch.cat has made one of the piece.
        steps.baddbmm_(ends, self._ramps.expand(len(sound), -1, -1), alpha=-1)
        return steps.flatten(1)[:, : n_left if is_last else None]


@lru_cache
def _low_pass(rate: float, settings: HighPassSettings) -> torch.Tensor:
    """(taps,), an odd number of them; they sum to 1."""
    half = round(settings.length_s * rate / 2)
    ideal = torch.sinc(2 * settings.cutoff_hz / rate * torch.arange(-half, half + 1))
    taps = ideal * torch.kaiser_window(2 * half + 1, periodic=False, beta=settings.kaiser_beta)
    return taps / taps.sum()
