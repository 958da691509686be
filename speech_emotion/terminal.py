"""Options, output, signals and exit codes, shared by all command lines."""

import argparse
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from speech_emotion import __version__

SHOWN = 10  # names listed in a sentence, and rows or errors in a summary
DEVICES = ("auto", "cpu", "cuda", "mps")
_LARGEST = 2**31 - 1  # of a number given as an option
_SIGNALS = ("SIGTERM", "SIGHUP")  # from kill, and when the terminal is closed
_log = logging.getLogger(__name__)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with --version, whose errors are one sentence, without control characters."""

    def __init__(self, **options):
        super().__init__(**options)
        self.add_argument("--version", action="version", version=f"speech-emotion {__version__}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)} (--help lists the options)\n")


def positive(text: str) -> int:
    """An option that is a number."""
    if not text.isdecimal() or not 1 <= int(text) <= _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_LARGEST}")
    return int(text)


def printable(text: object) -> str:
    """`text` in one line, with control and undecodable characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object, is_error: bool = False) -> None:
    """Print lines that may contain text from files, with control characters escaped."""
    print("\n".join(map(printable, str(text).split("\n"))), file=sys.stderr if is_error else sys.stdout)


def count(n: int, noun: str, verb: str = "") -> str:
    """1 recording, 2 recordings; with a verb such as has/have: 1 recording has, 2 recordings have."""
    one, _, several = verb.partition("/")
    return f"{n} {noun}{'' if n == 1 else 's'} {one if n == 1 else several}".rstrip()


def clock(seconds: float) -> str:
    """3:05, or 1:03:05, as a player shows it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def some(names: Iterable[str]) -> str:
    """The first `SHOWN` names and the number of others, for a sentence."""
    names = list(names)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


class _LossyStderr(io.FileIO):
    """Standard error without the errors of writing to it: a full disk there stops no run."""

    def write(self, data) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(data)


@contextmanager
def command_line() -> Iterator[None]:
    """Context in which a program can always print, and ends cleanly.

    Closed standard streams are connected to the null device, and what cannot be written to standard error is lost.
    SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, unless they are ignored, so that temporary files are
    removed. Later signals are ignored, so that they do not interrupt the clean-up.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file opened gets this descriptor, and what libraries print
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115
    stderr = sys.stderr
    if stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(_LossyStderr(2, "w", closefd=False), stderr.encoding, write_through=True)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors="backslashreplace")
    heeded = {}  # by signal, what handled it before
    if threading.current_thread() is threading.main_thread():  # only the main thread handles signals
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        heeded = {number: handler for number in numbers if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def stop(number: int, frame: object) -> None:
        for later in heeded:
            signal.signal(later, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for number in heeded:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
        sys.stderr = stderr


@dataclass
class Ending:
    """The exit status of a program."""

    status: int = 0  # for the shell
    when_stopped: Callable[[], str] = str  # added to the sentence if a signal stopped the program


@contextmanager
def program(name: str, errors: type[Exception] | tuple[type[Exception], ...] = Exception) -> Iterator[Ending]:
    """command_line that turns `errors` and signals into one sentence and a status.

    The status is 2 after one of these `errors` and, as in shells, 130 after Ctrl-C and 143 after SIGTERM.
    """
    ending = Ending()
    with command_line():
        try:
            yield ending
        except KeyboardInterrupt as stop:
            (number,) = stop.args or (signal.SIGINT,)
            ending.status = 128 + number
            say("; ".join(filter(None, [f"\n{name}: stopped", ending.when_stopped()])), is_error=True)
        except errors as error:
            _log.debug("stopped", exc_info=True)
            ending.status = 2
            say(f"{name}: {printable(str(error) or type(error).__name__)}", is_error=True)
