"""FFmpeg in processes of its own, so that a crash or a hang affects only the file that caused it."""

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
MEMORY = 2**30  # bytes of address space, a quarter of them for libraries; a .m4a of 521 bytes can ask for 2.7 GB
PATIENCE_S = 60  # without any decoded sound


class DecoderLost(ValueError):
    """A decoder process died while reading a file; the message is one sentence."""


def isolated(file: BinaryIO, facts: Facts, *options: int) -> Iterator[Block]:
    """The blocks of decoders.ffmpeg, in larger blocks, from a process that is reused for the next file.

    Each open file has a process of its own, so threads need no lock. Raises Unreadable, and DecoderLost if the process
    crashes or returns no sound for `PATIENCE_S`. On Windows, which cannot pass on open files, FFmpeg runs in this
    process.
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
        raise DecoderLost(process.why_it_ended()) from error
    finally:
        if is_ready and len(_idle) < (os.cpu_count() or 1):
            _idle.append(process)
        else:
            process.end()


class _Process:
    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()  # closed when this process dies; that ends the other
        self.answers = self.connection.makefile("rb", 2**18)
        command = [sys.executable, str(WORKER), str(MEMORY), str(PATIENCE_S)]
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # libraries print about damaged files
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread takes address space
        with theirs:
            self.process = subprocess.Popen(
                command, stdin=theirs, **nowhere, env=one_thread, start_new_session=True  # so Ctrl-C does not reach it
            )  # fmt: skip

    def receive(self) -> tuple[int, int, bytearray]:
        """The next message; raises EOFError or ConnectionError if the process has ended."""
        header = self.answers.read(MESSAGE.size)
        if len(header) < MESSAGE.size:
            raise EOFError
        rate, channels, size = MESSAGE.unpack(header)
        content = bytearray(size)  # a bytearray, because torch wants writable arrays
        if self.answers.readinto(content) < size:
            raise EOFError
        return rate, channels, content

    def why_it_ended(self) -> str:
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


def _take() -> _Process:
    while True:
        try:
            process = _idle.pop()
        except IndexError:
            return _Process()
        if process.process.poll() is None:  # it lives, and is ours: in a fork, poll knows that it is not
            return process
        process.end()
