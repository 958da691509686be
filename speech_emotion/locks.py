"""Files that one process at a time writes; the second process is told which one does."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout


@contextmanager
def locked(path: str | Path, work: str) -> Iterator[None]:
    """Context that one process at a time is in, until that process ends, however it ends.

    `path` is a file for this lock only; `work` says what it protects, for the message. Raises BlockingIOError if
    another process is in it, OSError if `path` cannot be written.
    """
    path, lock = Path(path), FileLock(path, blocking=False)
    if not path.parent.is_dir():  # FileLock would create it
        raise FileNotFoundError(f"there is no folder {path.parent}")
    try:
        path.touch()  # FileLock takes some folders that cannot be written for a file that is locked
        lock.acquire()
    except Timeout:
        owner = ""
        with suppress(OSError):  # gone by now, or not to be read on Windows
            owner = path.read_text().strip()
        who = f"process {owner}" if owner.isdecimal() else "another process"
        raise BlockingIOError(f"{work} by {who}; wait for it, or choose another path") from None
    except OSError as error:
        raise OSError(f"cannot write to the folder {path.parent}: {error.strerror}") from error
    try:
        if not isinstance(lock, SoftFileLock):  # the fallback without flock, which writes its owner itself
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        with suppress(OSError):  # Windows cannot delete an open file
            path.unlink()  # while it is locked, so that no other process has it
        lock.release()
