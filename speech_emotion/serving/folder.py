"""The folder in which recordings lie while they are answered: one for each run, and none is left of a run that died."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "speech-emotion-"
_OWNER = ".owner"  # locked for as long as the run lives, whatever ends it


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder of this run alone, below TMPDIR. First removes those of runs that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = FileLock(folder / _OWNER)
        with suppress(OSError):  # another start may have taken it for left, before it was locked
            lock.acquire()
            if (folder / _OWNER).exists():
                break
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def request_folder(run: Path) -> Iterator[Path]:
    """A folder for the recordings of one request, which are gone with it."""
    folder = tempfile.mkdtemp(dir=run)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    mine = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
    if not mine or folder.is_symlink() or not folder.is_dir():
        return
    lock = FileLock(folder / _OWNER)
    with suppress(OSError, Timeout):  # its owner lives, or another start was faster
        lock.acquire(timeout=0)
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
