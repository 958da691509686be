"""The files to write: checked before any work, locked against other processes, and replaced only by whole ones."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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


@contextmanager
def replaced(path: str | Path, suffix: str = ".part") -> Iterator[Path]:
    """Context in which a file beside `path` is written, whose name it gives, and which replaces `path` at the end.

    After an error, `path` is as it was, and the other file is removed. A link is followed and stays.
    """
    target = os.path.realpath(path)
    part = Path(f"{target}{suffix}")
    try:
        yield part
        part.replace(target)
    finally:
        with suppress(OSError):  # it has replaced `path`, or was never there
            part.unlink()


def check_outputs(paths: Iterable[str | Path], inputs: Iterable[str | Path] = ()) -> list[Path]:
    """The files that writing these paths creates or replaces; links are followed.

    Raises OSError for folders, pipes, devices, the file that this process prints to, two that are the same, and one
    that is among `inputs`, under whatever name.
    """
    paths, inputs = list(paths), list(inputs)
    files = [Path(os.path.realpath(path) if os.path.islink(path) else path) for path in paths]
    if len({*map(os.path.realpath, files)}) < len(files):
        raise FileExistsError(f"two of the files to write are the same: {', '.join(map(str, paths))}")
    for path in filter(os.path.exists, paths):
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path} is a folder; name a file")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is a pipe or a device; name a file")
        if any(_is(status, descriptor) for descriptor in (1, 2)):
            raise OSError(f"{path} is what this program prints to; name another file")
        if any(_is(status, other) for other in inputs):
            raise FileExistsError(f"{path} is read by this run; name another file to write")
    return files


@contextmanager
def locked_outputs(
    paths: Iterable[str | Path], inputs: Iterable[str | Path] = (), make_folders: bool = False
) -> Iterator[list[Path]]:
    """Context in which only this process writes the files at `paths`; gives what check_outputs returns.

    Raises what check_outputs raises, and OSError if a file cannot be written or another process writes it.
    """
    paths = list(paths)
    files = check_outputs(paths, inputs)
    with ExitStack() as locks:
        for path, file in zip(paths, files, strict=True):
            if make_folders:
                file.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(locked(f"{file}.lock.part", f"{path} is being written"))
        yield files


def _is(status: os.stat_result, other: str | Path | int) -> bool:
    try:
        return os.path.samestat(status, os.stat(other))
    except (OSError, ValueError):  # it is in a bucket, gone, or no path at all
        return False
