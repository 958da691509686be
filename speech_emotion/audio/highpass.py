"""A high-pass that removes what lies below speech: a constant offset, rumble, mains hum.

C: channels.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn.functional import conv1d


@dataclass(frozen=True)
class HighPassSettings:
    """What is removed; chosen on training clips of RAVDESS's split 0 (results/EXPERIMENTS.md)."""

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

    def __init__(self, rate: int, settings: HighPassSettings | None = None):
        settings = settings or HighPassSettings()
        self._step = max(1, round(rate / settings.node_hz))  # samples between nodes
        self._taps = _low_pass(rate / self._step, settings)
        self._n_around = len(self._taps) // 2 + 1  # steps on both sides that a step depends on
        self._n_offset = round(settings.offset_s * rate)
        rising = (torch.arange(self._step) + 0.5) / self._step
        self._ramps = torch.stack([1 - rising, rising])  # (2, step)
        self._sound: torch.Tensor | None = None  # what is needed again: steps that were returned, then the others
        self._has_begun = False

    def __call__(self, piece: torch.Tensor, is_last: bool = False) -> torch.Tensor:
        """(C, samples) → (C, samples), about 50 ms later; if the piece `is_last`, everything that is left."""
        sound = piece if self._sound is None else torch.cat([self._sound, piece], dim=1)
        around = self._n_around * self._step
        n_left = sound.shape[1] - around * self._has_begun  # samples that were not returned
        if not self._has_begun and n_left < (1 if is_last else self._n_offset):
            self._sound = sound
            return sound[:, :0]
        after = around + -n_left % self._step if is_last else 0
        if after or not self._has_begun:
            sound = self._continued(sound, 0 if self._has_begun else around, after)
            self._has_begun = True
        n = max(0, sound.shape[1] // self._step - 2 * self._n_around)  # steps that can be returned
        self._sound = sound[:, n * self._step :].clone()
        if not n:
            return sound[:, :0]
        return self._filtered(sound[:, : n * self._step + 2 * around])[:, : n_left if is_last else None]

    def _continued(self, sound: torch.Tensor, before: int, after: int) -> torch.Tensor:
        first, last = sound[:, : self._n_offset], sound[:, -self._n_offset :]
        first, last = (part.mean(dim=1, keepdim=True) for part in (first, last))
        return torch.cat([first.expand(-1, before), sound, last.expand(-1, after)], dim=1)

    def _filtered(self, sound: torch.Tensor) -> torch.Tensor:
        """Whole steps → the same without the `_n_around` steps on both sides, in place: a copy takes longer."""
        steps = sound.unflatten(1, (-1, self._step))
        halves = steps @ self._ramps.T / self._step  # (C, steps, 2): the share of the node on the left, on the right
        nodes = halves[:, :-1, 1] + halves[:, 1:, 0]
        low = conv1d(nodes[:, None], self._taps[None, None])[:, 0]
        ends = torch.stack([low[:, :-1], low[:, 1:]], dim=2)
        ramps = self._ramps.expand(len(sound), -1, -1)
        return steps[:, self._n_around : -self._n_around].baddbmm_(ends, ramps, alpha=-1).flatten(1)


@lru_cache
def _low_pass(rate: float, settings: HighPassSettings) -> torch.Tensor:
    """(taps,), an odd number of them; they sum to 1."""
    half = round(settings.length_s * rate / 2)
    ideal = torch.sinc(2 * settings.cutoff_hz / rate * torch.arange(-half, half + 1))
    taps = ideal * torch.kaiser_window(2 * half + 1, periodic=False, beta=settings.kaiser_beta)
    return taps / taps.sum()
