"""Any audio file → mono float32 at one sample rate."""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample

from speech_emotion.audio.reading import average_channels, check_samples, read_pieces

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
        yield change_rate(samples, p, q)[lead * q // p : ceil(end * q / p)]
        rest, lead = samples[end - margin :], margin


def to_mono(samples: np.ndarray, rate: int, sample_rate: int) -> torch.Tensor:
    """(samples,) or (samples, channels) at `rate` Hz → (samples,) float32 at `sample_rate` Hz, channels averaged.

    Raises AudioError for a rate outside 4 to 384 kHz and for NaN or infinite samples, ValueError for another shape.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples must be (samples,) or (samples, channels), not {samples.shape}")
    mono = np.ascontiguousarray(average_channels(samples), dtype=np.float32)
    check_samples(mono, rate)
    return change_rate(torch.from_numpy(mono), *_ratio(rate, sample_rate))


def _ratio(rate: int, sample_rate: int) -> tuple[int, int]:
    """`rate` / `sample_rate` in small numbers: the kernel for 44 101 Hz would otherwise need gigabytes."""
    return (Fraction(rate) / sample_rate).limit_denominator(_FINEST_RATIO).as_integer_ratio()


def change_rate(waveform: torch.Tensor, p: int, q: int) -> torch.Tensor:
    """(..., samples) from p samples to q."""
    return waveform if p == q or not len(waveform) else resample(waveform, p, q)
