"""Tables that are written recording by recording, can be resumed, and get their names only when they are complete."""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from speech_emotion.inference.formats import format_of
from speech_emotion.inference.rows import Row, rounded
from speech_emotion.locks import locked


class Table:
    """The table of recordings at `path` and, if asked for, the timeline of their stretches.

    Until both are complete, `path`.part has a first line that identifies the run, and a line of JSON for each
    recording: its rows, its stretches and its length. `path`.lock.part keeps other processes out.

    >>> with Table("out.csv", ["url", "confidence"]) as table:
    ...     table.write([{"url": "a.wav", "confidence": 0.5}])
    ...     table.finish()
    """

    def __init__(
        self,
        path: str | Path,
        columns: list[str],
        *,
        timeline: str | Path | None = None,
        stretch_columns: Iterable[str] = (),
        resume: bool = False,
        run: object = None,
    ):
        """With `resume`, the recordings in the part file are kept.

        `run` identifies everything that changes rows. Raises OSError if a file cannot be written or another process
        writes it, ValueError if the part file belongs to another run or a format is for other rows, ImportError if a
        format needs a package that is not installed.
        """
        self.path, self._columns = Path(path), (columns, list(stretch_columns))
        paths = [path, *filter(None, [timeline])]
        self._formats = [format_of(*output) for output in zip(paths, self._columns, strict=False)]  # or fail early
        self._targets = check_outputs(paths)
        self.part = Path(f"{self._targets[0]}.part")
        self._start = json.dumps([run, *self._columns]).encode() + b"\n"
        self._recordings: set[str] = set()
        self._length_s = 0.0  # of the latest recording
        with ExitStack() as locks:
            for name, target in zip(paths, self._targets, strict=True):
                locks.enter_context(locked(f"{target}.lock.part", f"{name} is being written"))
            end = self._find_kept() if resume and self.part.exists() else 0
            self._file = self.part.open("r+b" if end else "wb")
            if end:
                self._file.truncate(end)  # without a line that is incomplete, because the process was killed
                self._file.seek(end)
            else:
                self._file.write(self._start)
            self._file.flush()
            self._locks = locks.pop_all()

    def __contains__(self, url: str) -> bool:
        """Whether the table has this recording."""
        return url in self._recordings

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *exception) -> None:
        with self._locks:
            try:
                self._file.close()
            finally:
                if not self._recordings:
                    self.part.unlink(missing_ok=True)

    def kept(self) -> Iterator[list[Row]]:
        """The rows of each recording so far."""
        return self._parts(0)

    def write(self, rows: list[Row], stretches: Iterable[Row] = (), length_s: float = 0.0) -> None:
        """Add a recording, whose url is in the first column: all of its rows. Raises OSError on a full disk."""
        content = [
            [[row[column] for column in columns] for row in map(rounded, part)]
            for part, columns in zip((rows, stretches), self._columns, strict=True)
        ]
        self._file.write(json.dumps([*content, length_s]).encode() + b"\n")
        self._file.flush()  # so that it survives the end of the process
        self._recordings.add(rows[0][self._columns[0][0]])
        self._length_s = length_s

    def finish(self) -> None:
        """Write the tables, and name them when all are complete; until then, a killed run can be resumed."""
        wholes = [Path(f"{target}.whole.part") for target in self._targets]
        for number, (kind, whole) in enumerate(zip(self._formats, wholes, strict=True)):
            rows = chain.from_iterable(self._parts(number))
            kind.write(whole, self._columns[number], rows, self._length_s)
        for whole, target in zip(wholes, self._targets, strict=True):
            whole.replace(target)
        self.part.unlink()

    def _find_kept(self) -> int:
        """Find the recordings in the part file; returns where the last complete line ends."""
        with self.part.open("rb") as file:
            first = file.readline()
            if first.endswith(b"\n") and first != self._start:
                raise ValueError(
                    f"{self.part} is from a run with another model or other options; leave out --resume to start over"
                )
            end = len(first)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                rows, _, self._length_s = json.loads(line)
                self._recordings.add(rows[0][0])
                end += len(line)
        return end if self._recordings else 0

    def _parts(self, number: int) -> Iterator[list[Row]]:
        """The rows (0) or stretches (1) of each recording."""
        with self.part.open("rb") as file:
            file.readline()
            for line in file:
                yield [dict(zip(self._columns[number], values, strict=True)) for values in json.loads(line)[number]]


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
def locked_outputs(paths: Iterable[str | Path], inputs: Iterable[str | Path]) -> Iterator[None]:
    """Context in which only this process writes the files at `paths`; creates their folders.

    Raises what check_outputs raises, and OSError if a file cannot be written or another process writes it.
    """
    paths = list(paths)
    files = check_outputs(paths, inputs)
    with ExitStack() as locks:
        for path, file in zip(paths, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(locked(f"{file}.lock.part", f"{path} is being written"))
            part = Path(f"{file}.part")
            part.touch()
            part.unlink()
        yield


def _is(status: os.stat_result, other: str | Path | int) -> bool:
    try:
        return os.path.samestat(status, os.stat(other))
    except (OSError, ValueError):  # it is in a bucket, gone, or no path at all
        return False
