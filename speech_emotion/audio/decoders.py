"""FFmpeg: an open file → blocks of samples on its container's clock; as a script, in a process with limits.

Imports nothing of the package: isolation.py starts it by its path, whatever the folder and the search path.
"""

import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from typing import BinaryIO

import numpy as np

MESSAGE = struct.Struct("<iII")  # rate in Hz, channels, bytes that follow: float32, one channel after the other
END, FAILED = -1, -2  # in place of a rate, with the tracks for channels; the bytes: whether it is damaged, and why
REQUEST = struct.Struct("<IQQ?")  # what `ffmpeg` takes besides the file
_BLOCK = 2**18  # values decoded at once, all channels together; bytes sent at once

# FFmpeg's names of the containers with time stamps of their own. Those of others it makes up from sizes and rates.
_CLOCKED = {
    "asf", "flac", "flv", "gxf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "mxf", "nut", "ogg",
    "rm", "wtv",
}  # fmt: skip
_BETWEEN = 4096  # bytes at most between the packets of a Matroska file with one track
_TAGS = b"ID3", b"TAG", b"APETAGEX"  # that stand between joined files of MPEG
_GAPLESS = "flac", "ogg"  # that count samples: what is missing was lost
_TOLERANCE_S = 0.05  # of time stamps; most are rounded to milliseconds
_START_S = 0.1  # what begins by less than this after the start begins with it; WMA's first frame is 86 ms late
_RESTART_S = 1.0
_MOST_SILENCE = 2**32  # values, all channels together: 12 hours of stereo at 48 kHz

Block = tuple[np.ndarray, int]


class Unreadable(ValueError):
    """Why a decoder gives up; the message is one sentence."""


@dataclass
class Facts:
    """What a decoder learns of a file besides its samples; complete when it has come to the end."""

    n_tracks: int = 1  # of sound
    is_damaged: bool = False  # some of it could not be decoded


def ffmpeg(
    file: BinaryIO, facts: Facts, track: int = 0, begin: int = 0, end: int = 0, has_wrong_sizes: bool = False
) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate, silence in the gaps; on damaged files it raises anything.

    `track` counts from 1; 0 is FFmpeg's choice. Only bytes `begin` to `end` are read where there is an end; of a WAV
    that has wrong sizes all that follows its header is sound.
    """
    import av

    # A playlist under an audio name must not make FFmpeg open other files, or the network.
    options = {"protocol_whitelist": "none"} | ({"ignore_length": "1"} if has_wrong_sizes else {})
    source = _Part(file, begin, end) if end else file
    with av.open(source, metadata_errors="ignore", container_options=options) as container:
        stream = _choose(container, track)
        facts.n_tracks = len(container.streams.audio)
        if stream.codec_context is None:  # PyAV crashes the process when it decodes without one
            raise Unreadable("the codec of its sound track is unknown")
        clock = _Clock(container)
        is_alone = container.format.name == "matroska,webm" and len(container.streams) == 1
        is_empty, failed, failure, reached = True, False, None, None
        for packet in container.demux(stream):
            is_empty = is_empty and packet.size == 0
            if is_alone and packet.pos is not None:  # FFmpeg skips what it does not understand up to the next cluster
                failed = failed or packet.pos > (reached or packet.pos) + _BETWEEN
                reached = packet.pos + packet.size
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                failure = error
                # One damaged packet does not end the recording. What follows the last good one is no sound.
                failed = failed or not bytes(packet).startswith(_TAGS)
                continue
            if frames:
                facts.is_damaged |= failed and clock.now > 0
                failed = packet.is_corrupt
            for frame in frames:
                yield from clock.silence_before(frame)
                yield _to_float(frame), frame.sample_rate
        if failure and not clock.now:
            raise failure
        facts.is_damaged |= clock.is_damaged
        if container.format.name == "flac" and stream.duration:
            facts.is_damaged |= clock.now < float(stream.duration * stream.time_base) - _TOLERANCE_S
        if is_empty and (declared := stream.frames):  # FFmpeg goes on without an index too large
            raise Unreadable(f"the {declared} packets that it declares are not there, or need too much memory")


def _choose(container, track: int):
    tracks = container.streams.audio
    if not tracks:
        raise Unreadable("it has no sound track")
    if track > len(tracks):
        raise Unreadable(f"it has {len(tracks)} audio track{'s' * (len(tracks) > 1)}, and no track {track}")
    return tracks[track - 1] if track else container.streams.best("audio") or tracks[0]


def _to_float(frame) -> np.ndarray:
    """av.AudioFrame of any format → (samples, channels), full scale at 1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 128 - 1
    scale = 2.0 ** (1 - 8 * values.itemsize) if values.dtype.kind == "i" else 1
    return values.astype(np.float32) * np.float32(scale)


class _Clock:
    """Where each frame belongs by its time stamp: silence goes where the container has no sound.

    Stamps are compared with all that was given so far, so that their rounding does not add up, and what is closer than
    `_TOLERANCE_S`, or `_START_S` at the start, is left. Stamps that go back by more than `_RESTART_S` begin anew, as
    those of joined files do; less is an overlap, which is given whole. More than `_MOST_SILENCE` is damage, left out.
    """

    def __init__(self, container) -> None:
        self.now = 0.0  # seconds given so far
        self.is_damaged = False
        self._is_clocked = container.format.name in _CLOCKED
        self._is_gapless = container.format.name in _GAPLESS
        self._origin = (container.start_time or 0) / 1e6  # what players call 0
        self._left = _MOST_SILENCE

    def silence_before(self, frame) -> Iterator[Block]:
        """Blocks of zeros up to a frame, which is then taken for given."""
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        ahead = frame.time - self._origin - self.now if self._is_clocked and frame.pts is not None else 0
        n = round(ahead * rate)
        is_absurd = n * channels > self._left
        if (self.now == 0 and ahead < _START_S) or ahead < -_RESTART_S or is_absurd:
            self._origin += ahead
            self.is_damaged |= is_absurd
        elif ahead > _TOLERANCE_S:
            self.is_damaged |= self._is_gapless and self.now > 0
            self._left -= n * channels
            self.now += n / rate
            block = np.zeros((_BLOCK // channels, channels), np.float32)
            for begin in range(0, n, len(block)):
                yield block[: n - begin], rate
        self.now += frame.samples / rate


class _Part:
    """A part of a file as a file."""

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
    """What a decoder's exception says to whoever has the file, in one sentence."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "it would need too much memory"
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or ""
    # What they say where they do not know, or what a binding says of itself, helps nobody.
    return "it is damaged" if not text or text.startswith(("File does not exist", "Error number")) else text.rstrip(".")


def serve(memory: int, patience_s: int) -> None:
    """Decode with FFmpeg the files whose descriptors arrive on standard input, a socket, until that is closed.

    A file that takes `patience_s` without giving any sound ends the process, even when nobody waits for it any more.
    """
    for module in walk_packages(import_module("av").__path__, "av."):  # PyAV imports some late, when it is too late
        if not module.name.endswith("__main__"):
            import_module(module.name)
    _limit(memory)
    with socket.socket(fileno=0) as connection, connection.makefile("wb", _BLOCK) as answers:

        def answer(kind: int, channels: int, content: bytes) -> None:
            signal.alarm(0)  # to wait until it is taken is no hang
            answers.write(MESSAGE.pack(kind, channels, len(content)))
            answers.write(content)
            signal.alarm(patience_s)

        while True:
            request, descriptors, _, _ = socket.recv_fds(connection, REQUEST.size, 1)
            if not request:
                return
            with open(descriptors[0], "rb") as file:
                signal.alarm(patience_s)
                facts = Facts()
                try:
                    for samples, rate in joined(ffmpeg(file, facts, *REQUEST.unpack(request))):
                        answer(rate, samples.shape[1], samples.T.tobytes())
                    answer(END, facts.n_tracks, b"damaged" * facts.is_damaged)
                except Exception as error:
                    answer(FAILED, facts.n_tracks, reason(error).encode(errors="backslashreplace"))
            signal.alarm(0)
            answers.flush()


def joined(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same in blocks of up to `_BLOCK` values: FFmpeg's last 20 ms, and each message has its price."""
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
    if held:  # what was decoded before a failure counts
        yield np.concatenate(held), rate_held
    if failure:
        raise failure


def _limit(memory: int) -> None:
    import resource

    free = os.dup(0)
    os.close(free)
    # One more descriptor, which the file takes: a decoder can then open neither a connection nor another file.
    limits = {"AS": memory, "NOFILE": free + 1, "CORE": 0}
    for limit, value in limits.items():
        with suppress(OSError, ValueError):  # macOS does not know the first
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (value, value))


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
