"""Any file → its samples, mono, in pieces of bounded size: libsndfile first, FFmpeg for what that does not know."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speech_emotion.audio.buckets import fetched, is_url
from speech_emotion.audio.decoders import DECODERS, Unreadable, reason
from speech_emotion.audio.isolation import DecoderLost, isolated

PIECE_S = 30.0
SAMPLE_RATES = (4_000, 384_000)  # Hz; a header that says anything else is damaged
_LOUDEST = 1e9  # of full scale; the square of anything beyond it leaves float32

_log = logging.getLogger(__name__)


class AudioError(ValueError):
    """A recording that cannot be read or has nothing to classify; the message says why, without its name."""


def read_pieces(path: str | Path) -> Iterator[tuple[np.ndarray, int]]:
    """Decode a file to (samples,) float32, channels averaged, and its sample rate in Hz, `PIECE_S` at a time.

    The pieces have one rate, and all but the last have the same length. A file that is damaged further on gives what
    comes before. Raises AudioError when nothing can be decoded, when the file is no regular file (a pipe is never
    waited for), for a sample rate outside `SAMPLE_RATES`, and for NaN or infinite samples.
    """
    try:
        with fetched(path) if is_url(path) else open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AudioError("it is a pipe or a device, not a file")
            for samples, rate in _pieces(_decode(file)):
                check_samples(samples, rate)
                yield samples, rate
    except (OSError, AudioError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"cannot read: {printable(said).rstrip('.')}") from error


def check_samples(samples: np.ndarray, rate: int) -> None:
    """Raises AudioError for a sample rate or samples that no recording has."""
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise AudioError(f"its sample rate is {rate} Hz, not {lowest} to {highest} Hz")
    if len(samples) and not -_LOUDEST < samples.min() <= samples.max() < _LOUDEST:  # false for NaN, and no copy is made
        raise AudioError("it holds NaN, infinite or impossibly large samples")


def average_channels(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) → (samples,)."""
    if samples.ndim == 2 and samples.shape[1] == 1:
        return samples[:, 0]
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def printable(text: object) -> str:
    """`text` in one line that every terminal can show: control and undecodable characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def _open_without_waiting(path: str, flags: int) -> int:
    """A named pipe without a writer would block a plain open for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(file: BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks (samples, channels) with their rate, by the first reader that gets any out of `file`."""
    reasons = []
    for name in DECODERS:
        decoded = False
        try:
            for samples, rate in _blocks(name, file):
                decoded = decoded or len(samples) > 0
                yield samples, rate
        except DecoderLost as error:
            raise AudioError(str(error)) from error
        except Exception as error:  # on damaged files the decoders and their bindings raise anything
            _log.debug("%s on %s", name, printable(file.name), exc_info=True)
            reasons.append(f"{name}: {reason(error)}")
        if decoded:
            return
    raise AudioError("; ".join(reasons) or "it holds no samples")


def _blocks(name: str, file: BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    """FFmpeg has a process of its own. So has libsndfile where it may be MP3, as libmpg123 writes to stderr."""
    file.seek(0)
    start = os.read(file.fileno(), 3)
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    if name == "libsndfile" and start[:2] == b"\xf0\x7e":
        raise Unreadable("MIDI sample dumps are left to FFmpeg")  # it prints thousands of lines on damaged ones
    is_mpeg = start == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")
    return isolated(name, file) if name == "FFmpeg" or is_mpeg else DECODERS[name](file)


def _pieces(blocks: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of any size, (samples, channels) → mono pieces of `PIECE_S`."""
    waiting, n_waiting, rate = [], 0, 0
    for samples, rate in blocks:
        length = max(1, int(PIECE_S * rate))
        waiting.append(average_channels(samples))
        n_waiting += len(samples)
        if n_waiting >= length:
            joined = np.concatenate(waiting)
            whole = n_waiting - n_waiting % length
            for begin in range(0, whole, length):
                yield joined[begin : begin + length], rate
            waiting, n_waiting = [joined[whole:]], n_waiting - whole
    if n_waiting:
        yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0], rate
