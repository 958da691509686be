"""FFmpeg in processes of its own, so that a crash or a hang affects only the file that caused it.

Run as a program, this is such a process: it decodes the files whose descriptors arrive on standard input, a socket.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pkgutil import walk_packages
from typing import BinaryIO

import numpy as np

from speech_emotion.audio.decoders import BLOCK, Block, RecordingInfo, Unreadable, ffmpeg, in_pieces, reason

MEMORY = 2**30  # bytes of address space, a quarter of them for libraries; a .m4a of 521 bytes can ask for 2.7 GB
PATIENCE_S = 60  # without any decoded sound
_LINE = 4096  # bytes of a request, and of an answer before its samples


class DecoderLost(ValueError):
    """A decoder process died while reading a file; the message is one sentence."""


def isolated(file: BinaryIO, info: RecordingInfo, track: int | None = None, ending: str = "") -> Iterator[Block]:
    """The blocks of decoders.ffmpeg from a process that is reused for the next file.

    Each open file has a process of its own, so threads need no lock. Raises Unreadable, and DecoderLost if the process
    crashes or returns no sound for `PATIENCE_S`. On Windows, which cannot pass on open files, FFmpeg runs in this
    process.
    """
    if not hasattr(socket, "send_fds"):
        yield from ffmpeg(file, info, track, ending)
        return
    decoder, answer = _idle_or_new(), {}
    try:
        socket.send_fds(decoder.connection, [json.dumps([track, ending]).encode()], [file.fileno()])
        while "error" not in answer:
            answer = json.loads(decoder.answers.readline(_LINE))
            if "rate" in answer:
                samples = np.empty((answer["channels"], answer["n_samples"]), np.float32)
                if decoder.answers.readinto(samples) < samples.nbytes:
                    break
                yield samples.T, answer["rate"]
    except (ConnectionError, json.JSONDecodeError):
        pass  # the process has died
    finally:
        if "error" in answer and len(_idle) < (os.cpu_count() or 1):
            _idle.append(decoder)
        else:
            decoder.end()
    if "error" not in answer:
        status = decoder.process.returncode
        if status == -signal.SIGALRM:
            raise DecoderLost(f"FFmpeg found no sound in {PATIENCE_S} s")
        raise DecoderLost(f"FFmpeg {'cannot be started' if status > 0 else 'crashed'}")
    info.n_tracks = answer["n_tracks"]
    info.is_damaged |= answer["is_damaged"]
    info.n_ignored += answer["n_ignored"]
    if answer["error"]:
        raise Unreadable(answer["error"])


class _Decoder:
    """A process that decodes one file after the other."""

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()  # closed when this process dies; that ends the other
        self.answers = self.connection.makefile("rb", BLOCK)
        # Only what finds libraries, so no token of a server; each thread of OpenBLAS takes address space.
        environment = {name: value for name, value in os.environ.items() if name.startswith(("LD_", "DYLD_"))}
        environment |= {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(MEMORY), str(PATIENCE_S)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,  # libraries print about damaged files
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd=os.path.dirname(__file__),
                start_new_session=True,  # so Ctrl-C does not reach it
            )

    def end(self) -> None:
        self.answers.close()
        self.connection.close()
        self.process.kill()
        self.process.wait()


_idle: list[_Decoder] = []


def _idle_or_new() -> _Decoder:
    """A process that waits and lives; in a fork, poll knows that it is not ours."""
    with suppress(IndexError):
        while (decoder := _idle.pop()).process.poll() is not None:
            decoder.end()
        return decoder
    return _Decoder()


def serve(memory: int, patience_s: int) -> None:
    """Decode files until the socket is closed, each of which must give sound every `patience_s` seconds."""
    for module in walk_packages(import_module("av").__path__, "av."):  # PyAV imports some late, when files are limited
        if not module.name.endswith("__main__"):
            import_module(module.name)
    limit_resources(memory)
    with socket.socket(fileno=0) as connection, connection.makefile("wb", BLOCK) as answers:

        def answer(samples: bytes = b"", **header) -> None:
            signal.alarm(0)  # waiting for the reader is not a hang
            answers.write(json.dumps(header).encode() + b"\n" + samples)
            signal.alarm(patience_s)

        while True:
            request, descriptors, _, _ = socket.recv_fds(connection, _LINE, 1)
            if not request:
                return
            info, error = RecordingInfo(), ""
            with open(descriptors[0], "rb") as file:
                signal.alarm(patience_s)
                try:
                    for samples, rate in in_pieces(ffmpeg(file, info, *json.loads(request)), 3600, BLOCK):
                        answer(samples.T.tobytes(), rate=rate, channels=samples.shape[1], n_samples=len(samples))
                except Exception as failure:
                    error = reason(failure)[:1000]
            answer(error=error, **asdict(info))
            signal.alarm(0)
            answers.flush()


def limit_resources(memory: int) -> None:
    """Limit this process to `memory` bytes, and to one more file, so that a decoder opens none and no connection."""
    import resource

    free = os.dup(0)
    os.close(free)
    for limit, value in {"AS": memory, "NOFILE": free + 1, "CORE": 0}.items():
        with suppress(OSError, ValueError):  # macOS does not have the first limit
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit}"), (value, value))


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
