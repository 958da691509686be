"""FFmpeg in processes of its own: whatever a file does to one of them costs that file only."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speech_emotion.audio.decoders import FAILED, MESSAGE, REQUEST, Block, Facts, Unreadable, ffmpeg, joined

WORKER = Path(__file__).with_name("worker.py")
MEMORY = 2**30  # bytes of address space, a quarter of them for libraries; a 521-byte .m4a can ask for 2.7 GB
PATIENCE_S = 60  # without any sound


class DecoderLost(ValueError):
    """A decoder's process ended over a file; the message is one sentence."""


def isolated(file: BinaryIO, facts: Facts, *options: int) -> Iterator[Block]:
    """What decoders.ffmpeg gives, in larger blocks, from a process that waits for the next file afterwards.

    Each file that is being read has its own, so that threads need no lock. Raises Unreadable, and DecoderLost when the
    process crashes or gives no sound for `PATIENCE_S`. On Windows, which hands no open file on, it is this process.
    """
    if not hasattr(socket, "send_fds"):
        yield from joined(ffmpeg(file, facts, *options))
        return
    process, is_ready = _take(), False
    try:
        request = REQUEST.pack(*options, *[0] * (4 - len(options)))
        socket.send_fds(process.connection, [request], [file.fileno()])
        while (message := process.receive())[0] >= 0:
            rate, channels, content = message
            yield np.frombuffer(content, np.float32).reshape(channels, -1).T, rate
        is_ready = True
        kind, facts.n_tracks, content = message
        if kind == FAILED:
            raise Unreadable(content.decode())
        facts.is_damaged |= bool(content)
    except (ConnectionError, EOFError) as error:
        raise DecoderLost(process.epitaph()) from error
    finally:
        if is_ready and len(_idle) < (os.cpu_count() or 1):
            _idle.append(process)
        else:
            process.end()


class _Process:
    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()  # closed with this process, however that ends: so ends the other
        self.answers = self.connection.makefile("rb", 2**18)
        command = [sys.executable, str(WORKER), str(MEMORY), str(PATIENCE_S)]
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # what libraries print on damaged files
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each takes address space
        with theirs:
            self.process = subprocess.Popen(
                command, stdin=theirs, **nowhere, env=one_thread, start_new_session=True  # deaf to Ctrl-C
            )  # fmt: skip

    def receive(self) -> tuple[int, int, bytearray]:
        """The next message; raises EOFError or ConnectionError when there will be none."""
        header = self.answers.read(MESSAGE.size)
        if len(header) < MESSAGE.size:
            raise EOFError
        rate, channels, size = MESSAGE.unpack(header)
        content = bytearray(size)  # unlike bytes, an array over it can be written to, which torch asks for
        if self.answers.readinto(content) < size:
            raise EOFError
        return rate, channels, content

    def epitaph(self) -> str:
        status = self.process.wait()
        if status == -signal.SIGALRM:
            return f"FFmpeg found no sound in {PATIENCE_S} s"
        return f"FFmpeg {'cannot be started' if status > 0 else 'crashed'}"

    def end(self) -> None:
        self.answers.close()
        self.connection.close()
        self.process.kill()
        self.process.wait()


_idle: list[_Process] = []
if hasattr(os, "register_at_fork"):  # two processes must not talk to one decoder
    os.register_at_fork(after_in_child=_idle.clear)


def _take() -> _Process:
    while True:
        try:
            process = _idle.pop()
        except IndexError:
            return _Process()
        if process.process.poll() is None:
            return process
        process.end()
