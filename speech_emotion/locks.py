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
        folder = self.path.parent
        if not folder.is_dir():  # FileLock would create it
            raise FileNotFoundError(f"there is no folder {folder}")
        try:
            self.path.touch()  # FileLock takes some folders that cannot be written for a file that is locked
            self._lock.acquire(timeout=0)
            if not isinstance(self._lock, SoftFileLock):  # the fallback without flock, which writes its owner itself
                self.path.write_text(f"{os.getpid()}\n")
        except Timeout:
            owner = next(iter(self.path.read_text().split()), "")  # empty while it is being written
            who = f"process {owner}" if owner.isdecimal() else "another process"
            raise Busy(f"{work} by {who}; wait for it, or choose another path") from None
        except OSError as error:
            if self._lock.is_locked:  # the disk is full
                self.release()
            raise OSError(f"cannot write to the folder {folder}: {error.strerror}") from error

    def release(self) -> None:
        with suppress(OSError):  # Windows cannot delete an open file
            self.path.unlink(missing_ok=True)  # before another process can acquire it
        self._lock.release()
