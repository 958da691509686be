"""Any audio file → float32 samples at one sample rate, without what lies below speech."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, pairwise
from pathlib import Path

import numpy as np
import soxr
import torch

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.highpass import HighPass
from speech_emotion.audio.reading import RecordingInfo, read_pieces


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
    pieces = list(stream_audio(path, sample_rate, track=track, channels=channels, info=info))
    return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]


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
    """What read_pieces gives → the same, filtered and at `sample_rate` Hz: (samples,) or (channels, samples)."""
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
        """(samples,) or (samples, channels) → (samples,) or (channels, samples), less than 0.1 s of them later.

        If the piece `is_last`, everything that is left.
        """
        piece = torch.from_numpy(np.ascontiguousarray(samples.T, dtype=np.float32))
        high = self._high_pass(torch.atleast_2d(piece), is_last)
        if self._rate != self._sample_rate:
            self._resampler = self._resampler or soxr.ResampleStream(
                self._rate, self._sample_rate, len(high), dtype="float32"
            )
            resampled = self._resampler.resample_chunk(np.ascontiguousarray(high.T.numpy()), is_last)
            high = torch.from_numpy(np.ascontiguousarray(resampled.T))
        return high if samples.ndim == 2 else high[0]
