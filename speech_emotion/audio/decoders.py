"""libsndfile and FFmpeg: an open file → blocks of samples; as a script, one of them in a process with limits.

Imports nothing of the package: isolation.py starts it by its path, whatever the folder and the search path.
"""

import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from typing import BinaryIO

import numpy as np

MESSAGE = struct.Struct("<iII")  # rate in Hz, channels, bytes that follow: float32, one channel after the other
END, FAILED = -1, -2  # in place of a rate: the file ends here; the bytes are the reason why
_BLOCK = 2**18  # values decoded at once, all channels together; bytes sent at once


class Unreadable(ValueError):
    """Why a decoder gives up; the message is one sentence."""


def libsndfile(file: BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks (samples, channels) with their rate; on damaged files it raises anything."""
    import soundfile

    # By its descriptor: libsndfile then needs no name, which might not be UTF-8.
    with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
        frames = max(1, _BLOCK // sound.channels)
        while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
            yield samples, sound.samplerate


def ffmpeg(file: BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks (samples, channels) with their rate; on damaged files it raises anything."""
    import av

    # A playlist under an audio name must not make FFmpeg open other files, or the network.
    no_protocols = {"protocol_whitelist": "none"}
    with av.open(file, metadata_errors="ignore", container_options=no_protocols) as container:
        if not container.streams.audio:
            raise Unreadable("it has no sound track")
        if container.streams.audio[0].codec_context is None:  # PyAV crashes the process when it decodes without one
            raise Unreadable("the codec of its sound track is unknown")
        to_float, is_empty = av.AudioResampler("fltp"), True
        for packet in container.demux(audio=0):
            is_empty = is_empty and packet.size == 0
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # one damaged packet does not end the recording
            for frame in frames:
                for part in to_float.resample(frame):
                    yield part.to_ndarray().T, part.sample_rate
        if is_empty and (declared := container.streams.audio[0].frames):  # FFmpeg goes on without an index too large
            raise Unreadable(f"the {declared} packets that it declares are not there, or need too much memory")


DECODERS = {"libsndfile": libsndfile, "FFmpeg": ffmpeg}


def reason(error: Exception) -> str:
    """What a decoder's exception says to whoever has the file, in one sentence."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "it would need too much memory"
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or ""
    # What they say where they do not know, or what a binding says of itself, helps nobody.
    return "it is damaged" if not text or text.startswith(("File does not exist", "Error number")) else text.rstrip(".")


def serve(name: str, memory: int, patience_s: int) -> None:
    """Decode the files whose descriptors arrive on standard input, a socket, until that is closed.

    A file that takes `patience_s` without giving any sound ends the process, even when nobody waits for it any more.
    """
    library = import_module({"libsndfile": "soundfile", "FFmpeg": "av"}[name])
    for module in walk_packages(getattr(library, "__path__", []), "av."):  # PyAV imports some late, when it is too late
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
            request, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            if not request:
                return
            with open(descriptors[0], "rb") as file:
                signal.alarm(patience_s)
                try:
                    for samples, rate in _joined(DECODERS[name](file)):
                        answer(rate, samples.shape[1], samples.T.tobytes())
                    answer(END, 0, b"")
                except Exception as error:
                    answer(FAILED, 0, reason(error).encode(errors="backslashreplace"))
            signal.alarm(0)
            answers.flush()


def _joined(blocks: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, int]]:
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
    serve(sys.argv[1], *map(int, sys.argv[2:]))
