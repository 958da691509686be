"""A decoder process with limited resources; isolation.py starts it by its path."""

import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages

_BUFFER = 2**18  # bytes per message


def serve(memory: int, patience_s: int) -> None:
    """Decode the files whose descriptors arrive on standard input, a socket, with FFmpeg, until it is closed.

    If a file gives no sound for `patience_s`, the process ends, even if nobody waits for the file any more.
    """
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from decoders import END, FAILED, MESSAGE, REQUEST, Facts, ffmpeg, joined, reason

    # PyAV imports some modules late, when no more files can be opened.
    for module in walk_packages(import_module("av").__path__, "av."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    _limit(memory)
    with socket.socket(fileno=0) as connection, connection.makefile("wb", _BUFFER) as answers:

        def answer(kind: int, channels: int, content: bytes) -> None:
            signal.alarm(0)  # waiting for the reader is not a hang
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


def _limit(memory: int) -> None:
    import resource

    free = os.dup(0)
    os.close(free)
    # One more descriptor, for the file itself: so a decoder can open neither a connection nor another file.
    limits = {"AS": memory, "NOFILE": free + 1, "CORE": 0}
    for limit, value in limits.items():
        with suppress(OSError, ValueError):  # macOS does not have the first limit
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (value, value))


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
