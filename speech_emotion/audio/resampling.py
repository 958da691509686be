"""Any audio file → mono float32 at one sample rate → the part of it that is classified."""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample

from speech_emotion.audio.reading import average_channels, check_samples, read_pieces

_FRAME_S = 0.01
_ONSET_ENERGY = 0.02  # share of the energy above the noise floor that has passed at the onset
_LEAD_S = 0.10  # median time between the start of the window and the onset in RAVDESS
_RAVDESS_LEAD_S = (-0.2, 0.5)  # and its range, but for 15 of the 2452 clips

_ENVELOPE_HZ = 100  # parts of a second, before they are merged

_ZERO_CROSSINGS = 6  # of torchaudio's resampling kernel, on each side
_FINEST_RATIO = 1000  # largest denominator of a resampling ratio; 1e-5 off the declared rate at worst


def load_audio(path: str | Path, sample_rate: int) -> torch.Tensor:
    """Decode a file to mono.

    Returns (samples,) float32 at `sample_rate` Hz; channels are averaged.
    Raises AudioError when the file cannot be decoded, is empty, or holds NaN or infinite samples.
    """
    pieces, rates = zip(*read_pieces(path), strict=True)
    return to_mono(np.concatenate(pieces) if len(pieces) > 1 else pieces[0], rates[0], sample_rate)


def stream_audio(path: str | Path, sample_rate: int) -> Iterator[torch.Tensor]:
    """What load_audio returns, in pieces of about 30 s; raises AudioError on the way where load_audio does."""
    source = read_pieces(path)
    following = next(source, None)
    rest, lead = torch.empty(0), 0  # what the kernel needs again, and how much of it was returned already
    while following is not None:
        piece, rate = following
        following = next(source, None)
        p, q = _ratio(rate, sample_rate)
        samples = torch.cat([rest, torch.from_numpy(piece)]) if len(rest) else torch.from_numpy(piece)
        margin = p * ceil((_ZERO_CROSSINGS * p / min(p, q) + 2) / p)
        end = len(samples) if following is None else (len(samples) - margin) // p * p
        yield _resample(samples, p, q)[lead * q // p : ceil(end * q / p)]
        rest, lead = samples[end - margin :], margin


def load_envelope(path: str | Path, n_points: int = 1000) -> tuple[np.ndarray, float]:
    """The outline of a recording of any length, for a picture; its memory is a kilobyte for each second.

    Returns the lowest and the highest sample of equal parts, (2, at most `n_points`), and the duration in seconds;
    raises AudioError as load_audio does.
    """
    extremes, duration_s = [], 0.0
    for samples, rate in read_pieces(path):
        starts = np.arange(0, len(samples) * _ENVELOPE_HZ, rate) // _ENVELOPE_HZ
        extremes.append([ufunc.reduceat(samples, starts) for ufunc in (np.minimum, np.maximum)])
        duration_s += len(samples) / rate
    low, high = np.concatenate(extremes, axis=1)
    starts = np.arange(0, len(low), -(-len(low) // n_points))
    return np.stack([np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)]), duration_s


def to_mono(samples: np.ndarray, rate: int, sample_rate: int) -> torch.Tensor:
    """(samples,) or (samples, channels) at `rate` Hz → (samples,) float32 at `sample_rate` Hz, channels averaged.

    Raises AudioError for a rate outside 4 to 384 kHz and for NaN or infinite samples, ValueError for another shape.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples must be (samples,) or (samples, channels), not {samples.shape}")
    mono = np.ascontiguousarray(average_channels(samples), dtype=np.float32)
    check_samples(mono, rate)
    return _resample(torch.from_numpy(mono), *_ratio(rate, sample_rate))


def _ratio(rate: int, sample_rate: int) -> tuple[int, int]:
    """`rate` / `sample_rate` in small numbers: the kernel for 44 101 Hz would otherwise need gigabytes."""
    return (Fraction(rate) / sample_rate).limit_denominator(_FINEST_RATIO).as_integer_ratio()


def _resample(waveform: torch.Tensor, p: int, q: int) -> torch.Tensor:
    return waveform if p == q or not len(waveform) else resample(waveform, p, q)


def find_onset(waveform: torch.Tensor, sample_rate: int) -> float:
    """The time in seconds at which 2 % of the energy above the noise floor has passed.

    A share of the energy, unlike a level threshold, is hardly moved by clicks, breaths and steady noise: on
    RAVDESS with white noise at 5 dB SNR its quartiles move by less than 20 ms. `waveform` is (samples,);
    silence and anything shorter than one frame start at 0.
    """
    frame = int(_FRAME_S * sample_rate)
    n_frames = waveform.numel() // frame
    if n_frames == 0:
        return 0.0
    energy = waveform[: n_frames * frame].view(n_frames, frame).square().mean(dim=1)
    energy = (energy - 2 * energy.quantile(0.10)).clamp(min=0)
    energy = energy.clamp(max=float(energy.quantile(0.95)))  # one loud syllable must not own the total
    passed = energy.cumsum(dim=0)
    if passed[-1] == 0:
        return 0.0
    return int(torch.searchsorted(passed, _ONSET_ENERGY * passed[-1])) * _FRAME_S


def window_start(waveform: torch.Tensor, sample_rate: int, ravdess_start_s: float) -> float:
    """Where the classified window begins, in seconds; may be slightly negative (zero-padded in front).

    RAVDESS clips open with a second of silence and get the window at `ravdess_start_s`. A recording that begins
    elsewhere is aligned to it: its window opens as long before its onset as RAVDESS's does.
    """
    onset = find_onset(waveform, sample_rate)
    earliest, latest = _RAVDESS_LEAD_S
    if earliest <= onset - ravdess_start_s <= latest:
        return ravdess_start_s
    return onset - _LEAD_S


def crop_or_pad(waveform: torch.Tensor, start: int, length: int) -> torch.Tensor:
    """Samples [start, start + length) of (samples,), zeros where the recording has none: (length,)."""
    window = waveform.new_zeros(length)
    begin, end = max(start, 0), min(start + length, waveform.numel())
    if begin < end:
        window[begin - start : end - start] = waveform[begin:end]
    return window
