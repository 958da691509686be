"""Any audio file → float32 samples at one sample rate."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import groupby
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample

from speech_emotion.audio.channels import mix
from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import RecordingInfo, check_samples, read_pieces

_ZERO_CROSSINGS = 6  # of torchaudio's resampling kernel, on each side
_FINEST_RATIO = 1000  # largest denominator of a resampling ratio; the error is at most 1e-5


def load_audio(
    path: str | Path,
    sample_rate: int,
    *,
    track: int | None = None,
    channels: str = "mix",
    info: RecordingInfo | None = None,
) -> torch.Tensor:
    """Decode a whole file; the options are those of read_pieces.

    Returns (samples,) float32 at `sample_rate` Hz, or (channels, samples) where `channels` is "each".
    Raises AudioError if the file cannot be decoded, is empty, or holds NaN or infinite samples.
    """
    parts = [
        change_rate(_tensor(np.concatenate(pieces) if len(pieces) > 1 else pieces[0]), *ratio(rate, sample_rate))
        for rate, pieces in _parts(path, track, channels, info)
    ]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def stream_audio(
    path: str | Path,
    sample_rate: int,
    *,
    track: int | None = None,
    channels: str = "mix",
    info: RecordingInfo | None = None,
) -> Iterator[torch.Tensor]:
    """The samples of load_audio in pieces of about 30 s; may raise AudioError after some of them."""
    return resample_pieces(read_pieces(path, track=track, channels=channels, info=info), sample_rate)


def resample_pieces(pieces: Iterable[Block], sample_rate: int) -> Iterator[torch.Tensor]:
    """What read_pieces gives → the same at `sample_rate` Hz, (samples,) or (channels, samples)."""
    for rate, of_rate in groupby(pieces, key=lambda piece: piece[1]):
        yield from _resampled((_tensor(samples) for samples, _ in of_rate), *ratio(rate, sample_rate))


def _parts(path, track, channels, info) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Each run of pieces with the same rate, as (rate, pieces)."""
    source = read_pieces(path, track=track, channels=channels, info=info)
    for rate, pieces in groupby(source, key=lambda piece: piece[1]):
        yield rate, [samples for samples, _ in pieces]


def _resampled(pieces: Iterable[torch.Tensor], p: int, q: int) -> Iterator[torch.Tensor]:
    """Resample (..., samples) by q / p as if all were one piece: each is resampled with its neighbours' ends."""
    source = iter(pieces)
    following = next(source, None)
    rest, lead = torch.empty(0), 0  # samples that the kernel needs again, and how many of them were returned already
    while following is not None:
        piece, following = following, next(source, None)
        samples = torch.cat([rest, piece], dim=-1) if rest.numel() else piece
        margin = p * ceil((_ZERO_CROSSINGS * p / min(p, q) + 2) / p)
        n = samples.shape[-1]
        if following is not None and n < 2 * margin:  # too short for the kernel: wait for the next piece
            rest = samples
            continue
        end = n if following is None else (n - margin) // p * p
        yield change_rate(samples, p, q)[..., lead * q // p : ceil(end * q / p)]
        rest, lead = samples[..., end - margin :], margin


def to_mono(samples: np.ndarray, rate: int, sample_rate: int) -> torch.Tensor:
    """(samples,) or (samples, channels) at `rate` Hz → (samples,) float32 at `sample_rate` Hz, mixed as for a file.

    Raises AudioError for a rate outside 4 to 384 kHz and for NaN or infinite samples, ValueError for another shape.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples must be (samples,) or (samples, channels), not {samples.shape}")
    mono = np.ascontiguousarray(mix(samples), dtype=np.float32)
    check_samples(mono, rate)
    return change_rate(torch.from_numpy(mono), *ratio(rate, sample_rate))


def _tensor(samples: np.ndarray) -> torch.Tensor:
    """(samples,) unchanged, (samples, channels) → (channels, samples)."""
    return torch.from_numpy(np.ascontiguousarray(samples.T))


def ratio(rate: int, sample_rate: int) -> tuple[int, int]:
    """`rate` / `sample_rate` as a ratio of small numbers; the kernel for 44 101 Hz would otherwise need gigabytes."""
    return (Fraction(rate) / sample_rate).limit_denominator(_FINEST_RATIO).as_integer_ratio()


def change_rate(waveform: torch.Tensor, p: int, q: int) -> torch.Tensor:
    """Resample (..., samples): every p samples become q."""
    return waveform if p == q or not waveform.numel() else resample(waveform, p, q)
