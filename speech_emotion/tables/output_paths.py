"""Checks of files to be written: where links lead, and that no input is overwritten."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from speech_emotion.locks import Lock


def output_path(path: str | Path) -> Path:
    """The file that writing `path` creates or replaces; links are followed.

    Raises OSError for folders, pipes, devices and the file that this process prints to.
    """
    with suppress(FileNotFoundError):
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path} is a folder; name a file")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is a pipe or a device; name a file")
        if any(_is(status, descriptor) for descriptor in (1, 2)):
            raise OSError(f"{path} is what this program prints to; name another file")
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def check_not_read(path: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raises FileExistsError if `path` is one of `inputs`, under whatever name."""
    try:
        status = os.stat(path)
    except OSError:
        return
    if any(_is(status, other) for other in inputs):
        raise FileExistsError(f"{path} is read by this run; name another file to write")


@contextmanager
def locked_outputs(paths: Iterable[str | Path], inputs: Iterable[str | Path]) -> Iterator[None]:
    """Context in which only this process writes the files at `paths`; creates their folders.

    Raises what output_path and check_not_read raise, OSError if a file cannot be written, Busy if another process
    writes one.
    """
    paths, inputs = list(paths), list(inputs)
    files = [output_path(path) for path in paths]
    if len({*map(os.path.realpath, files)}) < len(files):
        raise FileExistsError(f"two of the files to write are the same: {', '.join(map(str, paths))}")
    for path in paths:
        check_not_read(path, inputs)
    with ExitStack() as stack:
        for path, file in zip(paths, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(Lock(f"{file}.lock.part", f"{path} is being written").release)
            part = Path(f"{file}.part")
            part.touch()
            part.unlink()
        yield


def _is(status: os.stat_result, other: str | Path | int) -> bool:
    try:
        return os.path.samestat(status, os.stat(other))
    except (OSError, ValueError):  # it is in a bucket, gone, or no path at all
        return False
