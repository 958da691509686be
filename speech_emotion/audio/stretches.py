"""The level of a recording over time → its stretches of speech.

C: channels, T: frames of 10 ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from math import ceil

import numpy as np
import torch

FRAME_S = 0.01
HEARD = 10**-3.5  # -35 dB relative to the loudest frame's energy: fainter frames are not voice
SILENT = 1e-9  # mean square of a frame, -90 dBFS; dithered 16-bit silence stays below it

_ONSET_ENERGY = 0.02  # share of the energy above the noise floor that comes before the onset


@dataclass(frozen=True)
class StretchSettings:
    """How a recording is cut; chosen on recordings joined from nEMO's clips (results/EXPERIMENTS.md)."""

    pause_s: float = 0.3  # shortest pause that ends a stretch
    fragment_s: float = 0.3  # shorter stretches are joined to a neighbour,
    reach_s: float = 1.0  # unless it is further away than this
    shortest_s: float = 0.08  # shorter sounds between two pauses are no word
    overhang_s: float = 0.4  # by which a stretch may exceed its window; cutting it in two is worse
    tail_s: float = 0.3  # after the end of a stretch that its window still includes, up to the next stretch
    fading_db: float = 10.0  # per second: the level that a voice needs falls by this before and after a loud sound
    faintest_db: float = 45.0  # but not further than this below the level that is reached for
    loud_s: float = 1.0  # in total; a beep or a few shouts do not count
    knock_s: float = 0.05  # a sound that is shorter than this,
    knock_db: float = 10.0  # and louder than what surrounds it by this, is a knock or a click, and no voice
    above_noise_db: float = 6.0  # level that a voice needs, if the noise is within 35 dB of a loud sound
    below_loudest_db: float = 10.0  # the noise floor plus that is capped here: a sound that is always loud is not noise
    noise_quantile: float = 0.05  # quantile of a block's frames that estimates its noise floor
    block_s: float = 10.0
    context_s: float = 3.0  # around a stretch, in which the noise is measured to find its onset
    crosstalk_db: float = 15.0  # a channel this much fainter than another at the same time is crosstalk,
    crosstalk_likeness: float = 0.9  # if its energy follows that of the other (cosine)
    crosstalk_s: float = 2.0  # in which it is compared


SETTINGS = StretchSettings()


@dataclass(frozen=True)
class Stretch:
    """Frames [start, end); `onset` is where the voice sets in, `n_heard` the number of audible frames."""

    start: int
    end: int
    onset: int
    n_heard: int


def frame_energy(samples: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """(..., samples) → (..., T), the mean square of each whole frame of 10 ms."""
    frame = int(FRAME_S * sample_rate)
    n = samples.shape[-1] // frame
    return samples[..., : n * frame].unflatten(-1, (n, frame)).square().mean(dim=-1)


def without_knocks(energy: np.ndarray) -> np.ndarray:
    """(T,) → (T,), knocks and clicks as faint as what is around them (a morphological opening)."""
    n = n_frames(SETTINGS.knock_s)
    if len(energy) < n:
        return energy
    lowest = np.zeros(len(energy) + n - 1, energy.dtype)
    lowest[n - 1 : len(energy)] = np.min([energy[i : len(energy) - n + 1 + i] for i in range(n)], axis=0)
    around = np.max([lowest[i : i + len(energy)] for i in range(n)], axis=0)
    return np.where(energy > around * 10 ** (SETTINGS.knock_db / 10), around, energy)


def onset_frame(energy: np.ndarray) -> int:
    """The frame of (T,) before which 2 % of the energy above the noise floor lies; 0 for silence.

    Unlike a level threshold, a share of the energy is hardly affected by clicks, breaths and steady noise: on RAVDESS
    with white noise at 5 dB SNR, its quartiles move by less than 20 ms.
    """
    if not len(energy):
        return 0
    above = (energy - 2 * _quantile(energy, 0.10)).clip(min=0)
    passed = above.clip(max=_quantile(above, 0.95)).cumsum()  # one loud syllable must not dominate the total
    return int(np.searchsorted(passed, _ONSET_ENERGY * passed[-1])) if passed[-1] else 0


def _quantile(values: np.ndarray, share: float) -> np.floating:
    """As np.quantile of (T,), which takes four times as long."""
    below, weight = divmod(share * (len(values) - 1), 1)
    low, high = int(below), min(int(below) + 1, len(values) - 1)
    ordered = np.partition(values, (low, high))
    return ordered[low] + (ordered[high] - ordered[low]) * values.dtype.type(weight)


def without_crosstalk(energy: np.ndarray) -> np.ndarray:
    """(C, T) → (C, T), set to 0 where a channel has only crosstalk: it is fainter than another, and follows its level.

    The other one may also be a sound that does not matter, such as a metronome or a time code.
    """
    if len(energy) == 1:
        return energy
    loudest, n = energy.max(axis=0), n_frames(SETTINGS.crosstalk_s) // 2
    place = np.arange(energy.shape[1])
    first, last = (place - n).clip(0), (place + n).clip(max=len(place))
    kept = energy.copy()
    for channel in kept:
        is_faint = channel < loudest * 10 ** (-SETTINGS.crosstalk_db / 10)
        products = np.stack([channel * loudest, channel**2, loudest**2]) * is_faint
        passed = np.pad(products.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
        common, of_channel, of_loudest = passed[:, last] - passed[:, first]  # totals of the seconds around each frame
        likeness = common**2 / (of_channel * of_loudest).clip(1e-30)
        channel[is_faint & (likeness > SETTINGS.crosstalk_likeness**2)] = 0
    return kept


def find_stretches(energy: np.ndarray, longest_s: float, begin: int = 0) -> list[Stretch]:
    """Energy (T,) of one channel → its stretches in order of time, without overlap; none in silence.

    Every frame within 35 dB of the loudest near it is in a stretch, unless it is steady noise or alone. Stretches
    longer than `longest_s` are cut into equal parts. Frames before `begin` are in none; they only say how loud voice
    and noise are.
    """
    heard = _heard(energy)
    heard[:begin] = False
    frames = np.flatnonzero(heard)
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > n_frames(SETTINGS.pause_s)) + 1)
    spans = [(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
    spans = [(start, end) for start, end in spans if end - start >= n_frames(SETTINGS.shortest_s)]
    bounds = [(begin, begin), *_join_fragments(spans), (len(energy), len(energy))]
    stretches: list[Stretch] = []
    for (_, before), (start, end), (after, _) in zip(bounds, bounds[1:], bounds[2:], strict=False):
        stretches += _cut(energy, heard, (start, end), (before, after), longest_s)
    return stretches


def stretches_of_segments(
    energy: np.ndarray, segments: Sequence[tuple[int, int]], longest_s: float
) -> list[list[Stretch]]:
    """What is heard of each segment, frames [start, end) of (T,), as one stretch, cut where it is too long."""
    heard = _heard(energy)
    by_segment = []
    for start, end in segments:
        frames = start + np.flatnonzero(heard[start:end])
        parts = []
        if len(frames):
            span = int(frames[0]), int(frames[-1]) + 1
            parts = _cut(energy, heard, span, (start, min(end, len(energy))), longest_s)
        by_segment.append([part for part in parts if part.n_heard])
    return by_segment


def _cut(
    energy: np.ndarray, heard: np.ndarray, span: tuple[int, int], around: tuple[int, int], longest_s: float
) -> list[Stretch]:
    """The frames of a span as a stretch, or in equal parts where it is longer than `longest_s`."""
    start, end = span
    onset = find_onset(energy, start, end, around)
    n_parts = max(1, ceil((end - start - n_frames(SETTINGS.overhang_s)) / n_frames(longest_s)))
    stretches = []
    for first, stop in pairwise(np.linspace(start, end, n_parts + 1).round().astype(int).tolist()):
        stretches.append(Stretch(first, stop, min(max(first, onset), stop - 1), int(heard[first:stop].sum())))
        onset = stop
    return stretches


def find_onset(energy: np.ndarray, start: int, end: int, within: tuple[int, int]) -> int:
    """The frame of (T,) at which the voice of [start, end) sets in; the frames around it, up to `within`, are noise."""
    first = max(within[0], start - n_frames(SETTINGS.context_s))
    last = min(within[1], end + n_frames(SETTINGS.context_s), start + 2 * n_frames(SETTINGS.context_s))
    return first + onset_frame(energy[first:last])


def n_frames(seconds: float) -> int:
    return round(seconds / FRAME_S)


def _heard(energy: np.ndarray) -> np.ndarray:
    """(T,) → whether each frame is loud enough for voice: near the loudest around it, and above the noise there."""
    fading = SETTINGS.fading_db * FRAME_S * np.arange(len(energy))
    level = 10 * np.log10(energy.clip(SILENT))
    before = np.maximum.accumulate(level + fading) - fading
    after = np.maximum.accumulate((level - fading)[::-1])[::-1] + fading
    least = 10 ** (np.maximum(before, after) / 10) * HEARD
    n_loud = n_frames(SETTINGS.loud_s)
    if len(energy) > n_loud:
        least = np.maximum(least, np.partition(energy, -n_loud)[-n_loud] * 10 ** (-SETTINGS.faintest_db / 10))
    noise = _noise_floor(energy) * 10 ** (SETTINGS.above_noise_db / 10)
    highest = energy.max(initial=0) * 10 ** (-SETTINGS.below_loudest_db / 10)
    return energy >= np.maximum(np.minimum(noise, highest), least.clip(SILENT))


def _noise_floor(energy: np.ndarray) -> np.ndarray:
    """(T,) → (T,): the lowest of a block's and its neighbours' low quantiles; infinite if all are digital silence."""
    block = n_frames(SETTINGS.block_s)
    floors = [np.inf]
    for start in range(0, len(energy), block):
        sounding = energy[start : start + block]
        sounding = sounding[sounding > 0]
        floors.append(_quantile(sounding, SETTINGS.noise_quantile) if len(sounding) else np.inf)
    floors.append(np.inf)
    least = [min(three) for three in zip(floors, floors[1:], floors[2:], strict=False)]
    return np.array(least, energy.dtype).repeat(block)[: len(energy)]


def _join_fragments(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans, with those that are too short to classify joined to the nearer neighbour, if it is within reach."""
    fragment, reach = n_frames(SETTINGS.fragment_s), n_frames(SETTINGS.reach_s)
    joined: list[tuple[int, int]] = []
    for (start, end), after in zip_longest(spans, spans[1:]):
        pause_before = start - joined[-1][1] if joined else np.inf
        pause_after = after[0] - end if after else np.inf
        follows_fragment = joined and joined[-1][1] - joined[-1][0] < fragment  # which is to be joined to this one
        is_fragment = end - start < fragment
        if pause_before <= reach and (follows_fragment or (is_fragment and pause_before <= pause_after)):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined
