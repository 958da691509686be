"""FFmpeg: an open file → blocks of samples on its container's clock.

Imports nothing from the package, so that worker.py can import it from the folder that both are in.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

MESSAGE = struct.Struct("<iII")  # rate in Hz, channels, bytes that follow: float32, one channel after the other
END, FAILED = -1, -2  # instead of a rate; then channels: n_tracks, bytes: is it damaged, and why
REQUEST = struct.Struct("<IQQ?")  # the arguments of `ffmpeg` after the file
_BLOCK = 2**18  # values per block, all channels together

# FFmpeg's names of the containers that store time stamps. For the others, it computes them from sizes and rates.
_CLOCKED = {
    "asf", "flac", "flv", "gxf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "mxf", "nut", "ogg",
    "rm", "wtv",
}  # fmt: skip
_BETWEEN = 4096  # bytes at most between the packets of a Matroska file with one track
_TAGS = b"ID3", b"TAG", b"APETAGEX"  # between MPEG files that were joined
_GAPLESS = "flac", "ogg"  # containers that count samples, so that a gap means loss
_TOLERANCE_S = 0.05  # of time stamps, most of which are rounded to milliseconds
_START_S = 0.1  # a start that is this late or less counts as 0; WMA's first frame is 86 ms late
_RESTART_S = 1.0  # more than the overlap of packets, less than the length of a file that was joined
_LONGEST_GAP_S = 3600
_MOST_SILENCE = 2**32  # values in all gaps, all channels together: 12 hours of stereo at 48 kHz

Block = tuple[np.ndarray, int]


class Unreadable(ValueError):
    """A decoder cannot read the file; the message is one sentence."""


@dataclass
class Facts:
    """What a decoder learns about a file besides its samples; complete at the end of the file."""

    n_tracks: int = 1  # audio tracks
    is_damaged: bool = False  # part of it could not be decoded


def ffmpeg(
    file: BinaryIO, facts: Facts, track: int = 0, begin: int = 0, end: int = 0, has_wrong_sizes: bool = False
) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate, silence in the gaps; damaged files can raise any exception.

    `track` counts from 1; 0 is FFmpeg's choice. If `end` is given, only bytes `begin` to `end` are read. In a WAV that
    has wrong sizes, everything after its header is sound.
    """
    import av

    # A playlist under an audio name must not make FFmpeg open other files, or the network.
    options = {"protocol_whitelist": "none"} | ({"ignore_length": "1"} if has_wrong_sizes else {})
    source = _Part(file, begin, end) if end else file
    with av.open(source, metadata_errors="ignore", container_options=options) as container:
        stream = _choose(container, track)
        facts.n_tracks = len(container.streams.audio)
        clock = _Clock(container, facts)
        for frame in _frames(container, stream, facts):
            yield from clock.silence_before(frame)
            yield _to_float(frame), frame.sample_rate
        if container.format.name == "flac" and stream.duration:
            facts.is_damaged |= clock.now < float(stream.duration * stream.time_base) - _TOLERANCE_S


def _frames(container, stream, facts: Facts) -> Iterator:
    """Every av.AudioFrame that can be decoded; a damaged packet does not end the recording.

    A bad packet counts as damage only if good ones follow; whatever follows the last good one is not sound.
    """
    import av

    is_alone = container.format.name == "matroska,webm" and len(container.streams) == 1
    is_empty = True
    failure = reached = None
    has_sound = has_failed = False
    for packet in container.demux(stream):
        is_empty = is_empty and packet.size == 0
        if is_alone and packet.pos is not None:  # FFmpeg skips data that it does not understand, up to the next cluster
            has_failed |= packet.pos > (reached or packet.pos) + _BETWEEN
            reached = packet.pos + packet.size
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failure = error
            has_failed |= not bytes(packet).startswith(_TAGS)
            continue
        if frames:
            facts.is_damaged |= has_failed
            has_sound, has_failed = True, packet.is_corrupt
        yield from frames
    if failure and not has_sound:
        raise failure
    if is_empty and (declared := stream.frames):  # FFmpeg continues without an index that is too large
        raise Unreadable(f"its {declared} declared packets are missing, or need too much memory")


def _choose(container, track: int):
    """The stream with that number; for 0, FFmpeg's choice, usually the one with the default flag."""
    tracks = container.streams.audio
    if not tracks:
        raise Unreadable("it has no sound track")
    if track > len(tracks):
        raise Unreadable(f"it has {len(tracks)} audio track{'s' * (len(tracks) > 1)}, and no track {track}")
    stream = tracks[track - 1] if track else container.streams.best("audio") or tracks[0]
    if stream.codec_context is None:  # PyAV crashes the process if it decodes without one
        raise Unreadable("the codec of its sound track is unknown")
    return stream


def _to_float(frame) -> np.ndarray:
    """av.AudioFrame of any format → (samples, channels), full scale at 1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 128 - 1
    if values.dtype.kind == "i":
        return values.astype(np.float32) * np.float32(2.0 ** (1 - 8 * values.itemsize))
    return values.astype(np.float32, copy=False)


class _Clock:
    """Places each frame by its time stamp, with silence where the container has no sound.

    Time stamps are compared with the total of samples so far, so that rounding errors do not accumulate; differences
    below `_TOLERANCE_S` (`_START_S` at the start) are ignored. If time stamps go back by more than `_RESTART_S`, as in
    joined files, the clock starts anew; if by less, the overlap is kept. Gaps of more than `_LONGEST_GAP_S`, or of
    `_MOST_SILENCE` in total, are damage and not filled.
    """

    def __init__(self, container, facts: Facts) -> None:
        self.now = 0.0  # seconds returned so far
        self._facts = facts
        self._is_clocked = container.format.name in _CLOCKED
        self._is_gapless = container.format.name in _GAPLESS
        self._origin = (container.start_time or 0) / 1e6  # what players show as 0
        self._left = _MOST_SILENCE

    def silence_before(self, frame) -> Iterator[Block]:
        """Blocks of zeros up to a frame, whose duration is then added to the clock."""
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        ahead = frame.time - self._origin - self.now if self._is_clocked and frame.pts is not None else 0
        n = round(ahead * rate)
        is_absurd = ahead > _LONGEST_GAP_S or n * channels > self._left
        if (self.now == 0 and ahead < _START_S) or ahead < -_RESTART_S or is_absurd:
            self._origin += ahead
            self._facts.is_damaged |= is_absurd
        elif ahead > _TOLERANCE_S:
            self._facts.is_damaged |= self._is_gapless and self.now > 0
            self._left -= n * channels
            self.now += n / rate
            block = np.zeros((_BLOCK // channels, channels), np.float32)
            for begin in range(0, n, len(block)):
                yield block[: n - begin], rate
        self.now += frame.samples / rate


class _Part:
    """A part of a file, as a file object."""

    def __init__(self, file: BinaryIO, begin: int, end: int):
        self._file, self._begin, self._end = file, begin, end
        self.seek(0)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: self._begin, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._end}[whence]
        return self._file.seek(origin + position) - self._begin

    def tell(self) -> int:
        return self._file.tell() - self._begin

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._end - self._file.tell())))


def reason(error: Exception) -> str:
    """A decoder's exception as a reason that is useful to the owner of the file."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "it would need too much memory"
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or ""
    # Generic messages, and messages about the Python binding, do not help the user.
    return "it is damaged" if not text or text.startswith(("File does not exist", "Error number")) else text.rstrip(".")


def joined(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same samples in blocks of up to `_BLOCK` values: FFmpeg's frames last 20 ms, and messages have overhead."""
    held: list[np.ndarray] = []
    rate_held = size = 0
    failure = None
    try:
        for samples, rate in blocks:
            size += samples.size
            if held and (size > _BLOCK or rate != rate_held or samples.shape[1] != held[0].shape[1]):
                yield np.concatenate(held), rate_held
                held, size = [], samples.size
            held.append(samples)
            rate_held = rate
    except Exception as error:
        failure = error
    if held:  # keep what was decoded before a failure
        yield np.concatenate(held), rate_held
    if failure:
        raise failure
