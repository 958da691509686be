"""One process at a time: who comes second is told who was first."""

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout


class Busy(RuntimeError):
    """Another process is at it; the message is one sentence."""


class Lock:
    """Held from its making to `release`, or to the end of the process, whatever ends it."""

    def __init__(self, path: str | Path, work: str):
        """`path` is a file of the lock's own; `work` says what cannot be done twice at once. Raises Busy, OSError."""
        self.path, self._lock = Path(path), FileLock(path)
        if not self.path.parent.is_dir():  # FileLock would make it
            raise FileNotFoundError(f"there is no folder {self.path.parent}")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Busy(f"{work} by {self._owner()}; wait for it, or name another place") from None
        if not isinstance(self._lock, SoftFileLock):  # which is what is left without flock, and says it itself
            self.path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        with suppress(OSError):  # Windows removes no open file
            self.path.unlink(missing_ok=True)  # before another one may have it
        self._lock.release()

    def _owner(self) -> str:
        with suppress(OSError, ValueError):
            return f"process {int(self.path.read_text().split()[0])}"
        return "another process"
