"""Any file → its samples in pieces of bounded size, on its container's clock."""

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speech_emotion.audio.buckets import fetched, is_url
from speech_emotion.audio.channels import Difference, as_channels, mix
from speech_emotion.audio.decoders import Block, Unreadable, reason
from speech_emotion.audio.isolation import DecoderLost, isolated
from speech_emotion.audio.structure import START, head, is_cut, parts
from speech_emotion.terminal import printable

PIECE_S = 30.0
SAMPLE_RATES = (4_000, 384_000)  # Hz; a header with another rate is damaged
_BLOCK = 2**18  # values per block, all channels together
_READ_AHEAD = 2**14  # bytes; twice libFLAC's buffer
_FFMPEG_ONLY = b"ID3", b"OggS", b"Creative Voice File", b"\xf0\x7e"  # the first bytes
_LOUDEST = 1e9  # of full scale; the square of a larger value overflows float32
_PIECE = 2**24  # values per piece, all channels together: 30 s of eleven channels at 48 kHz

_log = logging.getLogger(__name__)


class AudioError(ValueError):
    """A recording cannot be read or has nothing to classify; the message says why, without the file name."""


@dataclass
class RecordingInfo:
    """What is known about a recording besides its samples; complete once it has been read to the end."""

    n_tracks: int = 1  # audio tracks in the container
    n_channels: int = 1  # of the track that was read; the maximum if it changes
    channels_differ: bool = False  # see channels.Difference
    is_damaged: bool = False  # only part of it could be decoded


def read_pieces(
    path: str | Path | BinaryIO, *, track: int | None = None, channels: str = "mix", info: RecordingInfo | None = None
) -> Iterator[Block]:
    """Decode a file, given by its name or open, to pieces of at most `PIECE_S`: float32 samples and their rate in Hz.

    With `channels` "mix", a piece is (samples,), the mean of the channels, or the loudest one where they cancel. With
    "each" it is (samples, channels), with the number of channels at the start; if that changes, all channels get the
    mix. `track` counts audio tracks from 1; None is FFmpeg's choice. Late starts and gaps in the time stamps are filled
    with zeros. The rate may change from piece to piece. From a damaged file, everything that can be decoded is
    returned; `info` is filled in along the way. Raises AudioError if nothing can be decoded, if there is no such track,
    if it is not a regular file (pipes are not waited for), for a sample rate outside `SAMPLE_RATES`, and for NaN or
    infinite samples.
    """
    if track is not None and track < 1:
        raise ValueError(f"tracks are counted from 1, not {track}")
    info = RecordingInfo() if info is None else info
    difference, n_channels = Difference(), 0
    try:
        with _opened(path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AudioError("it is a pipe or a device, not a file")
            for samples, rate in _pieces(_decode(file, track, info)):
                check_samples(samples, rate)
                n_channels = n_channels or samples.shape[1]
                info.n_channels = max(info.n_channels, samples.shape[1])
                info.channels_differ = difference.add(samples, rate)
                yield mix(samples) if channels == "mix" else as_channels(samples, n_channels), rate
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"cannot read: {printable(said).rstrip('.')}") from error


def check_samples(samples: np.ndarray, rate: int) -> None:
    """Raises AudioError for an impossible sample rate or impossible samples."""
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise AudioError(f"its sample rate is {rate} Hz, not {lowest} to {highest} Hz")
    if len(samples) and not -_LOUDEST < samples.min() <= samples.max() < _LOUDEST:  # also false for NaN; makes no copy
        raise AudioError("it holds NaN, infinite or impossibly large samples")


def _opened(path: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The file, from its start. One that is already open, such as an upload without a name, stays open."""
    if hasattr(path, "fileno"):
        os.lseek(path.fileno(), 0, os.SEEK_SET)
        return open(os.dup(path.fileno()), "rb", 0)
    return fetched(path) if is_url(path) else open(path, "rb", 0, opener=_open_without_waiting)


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens without blocking: a plain open would wait forever for the writer of a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(file: BinaryIO, track: int | None, info: RecordingInfo) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate; if one reader fails, the next continues where it stopped."""
    reasons: list[str] = []
    given = 0  # samples returned so far
    start = head(file, START)
    info.is_damaged = is_cut(file, start)
    for name, blocks in _readers(file, start, track, info):
        try:
            for samples, rate in _after(given, blocks):
                given += len(samples)
                yield samples, rate
            if given:
                return
        except DecoderLost as error:
            raise AudioError(str(error)) from error
        except Exception as error:  # damaged files can raise any exception in the decoders and their bindings
            _log.debug("%s on %s", name, printable(file.name), exc_info=True)
            reasons.append(f"{name}: {reason(error)}")
    if not given:
        raise AudioError("; ".join(reasons) or "it holds no samples")
    info.is_damaged = True


def _readers(
    file: BinaryIO, start: bytes, track: int | None, info: RecordingInfo
) -> Iterator[tuple[str, Iterable[Block]]]:
    """The readers to try, in order, with their blocks; the file begins with the bytes `start`.

    libsndfile comes first: for WAV and FLAC it takes two thirds of FFmpeg's time. Only FFmpeg reads further tracks,
    joined files, WAV files with wrong sizes, and formats that libsndfile ends too early (MPEG), misreads (VOC) or
    prints messages about (damaged MPEG, MIDI sample dumps).
    """
    joined = parts(file, start)
    is_mpeg = start[:1] == b"\xff" and start[1:2] >= b"\xe0"
    if not (joined or is_mpeg or start.startswith(_FFMPEG_ONLY) or (track or 1) > 1):
        yield "libsndfile", _libsndfile(file)
    yield "FFmpeg", _ffmpeg(file, track, info, joined)


def _ffmpeg(file: BinaryIO, track: int | None, info: RecordingInfo, joined: list[tuple]) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate, from all parts that can be read."""
    failure, is_read = None, False
    for part in joined or [()]:
        file.seek(0)
        try:
            for block in isolated(file, info, track or 0, *part):
                is_read = True
                yield block
        except Unreadable as error:
            failure = error
    if failure and not is_read:
        raise failure
    info.is_damaged |= failure is not None


def _libsndfile(file: BinaryIO) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate; damaged files can raise any exception."""
    import soundfile

    # By descriptor, because the name might not be UTF-8.
    with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
        if sound.subtype.startswith("MPEG"):
            raise Unreadable("MP3 is left to FFmpeg")
        frames = max(1, _BLOCK // sound.channels)
        while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
            yield samples, sound.samplerate
        if sound.format == "FLAC" and _flac_follows(file.fileno()):
            raise Unreadable("it is longer than its header declares")


def _flac_follows(descriptor: int) -> bool:
    """Whether data follow the samples that the first header declares, which is where libFLAC stops."""
    read = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, max(4, read - _READ_AHEAD), os.SEEK_SET)
    return read < os.fstat(descriptor).st_size or b"fLaC" in os.read(descriptor, _READ_AHEAD)


def _after(n: int, blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks without their first `n` samples."""
    for samples, rate in blocks:
        if n < len(samples):
            yield samples[n:], rate
        n = max(0, n - len(samples))


def _pieces(blocks: Iterable[Block]) -> Iterator[Block]:
    """Blocks of any size → pieces of `PIECE_S`; shorter at the end and where the rate or number of channels changes."""
    waiting: list[np.ndarray] = []
    n_waiting = length = 0
    kind = None
    for samples, rate in blocks:
        if waiting and (rate, samples.shape[1]) != kind:
            yield np.concatenate(waiting), kind[0]
            waiting, n_waiting = [], 0
        kind = rate, samples.shape[1]
        length = max(1, min(int(PIECE_S * rate), _PIECE // samples.shape[1]))
        waiting.append(samples)
        n_waiting += len(samples)
        if n_waiting >= length:
            joined = np.concatenate(waiting)
            whole = n_waiting - n_waiting % length
            for begin in range(0, whole, length):
                yield joined[begin : begin + length], rate
            waiting, n_waiting = [joined[whole:]] if whole < n_waiting else [], n_waiting - whole
    if waiting:
        yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0], kind[0]
