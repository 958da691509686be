"""Locks between processes; the second process is told which one holds the lock."""

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout


class Busy(RuntimeError):
    """Another process holds the lock; the message is one sentence."""


class Lock:
    """Held from its creation to `release`, or to the end of the process, however that ends."""

    def __init__(self, path: str | Path, work: str):
        """`path` is a file for this lock only; `work` says what is locked, for the message. Raises Busy, OSError."""
        self.path, self._lock = Path(path), FileLock(path)
        if not self.path.parent.is_dir():  # FileLock would create it
            raise FileNotFoundError(f"there is no folder {self.path.parent}")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Busy(f"{work} by {self._owner()}; wait for it, or choose another path") from None
        if not isinstance(self._lock, SoftFileLock):  # the fallback without flock, which writes its owner itself
            self.path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        with suppress(OSError):  # Windows cannot delete an open file
            self.path.unlink(missing_ok=True)  # before another process can acquire it
        self._lock.release()

    def _owner(self) -> str:
        with suppress(OSError, ValueError):
            return f"process {int(self.path.read_text().split()[0])}"
        return "another process"
