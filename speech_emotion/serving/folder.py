"""The temporary folder for uploads: one per run; leftovers of killed runs are deleted."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "speech-emotion-"
_OWNER = ".owner"  # locked until the run ends, however it ends


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for this run only, in TMPDIR. First deletes those of killed runs."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = FileLock(folder / _OWNER)
        with suppress(OSError):  # another run may have deleted it as a leftover before it was locked
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
    """A folder for the recordings of one request, deleted afterwards."""
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
    with suppress(OSError, Timeout):  # its run still lives, or another run is deleting it
        lock.acquire(timeout=0)
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
