"""A table that is written recording by recording, can be resumed, and gets its name only when it is complete.

The part file is CSV; the complete table is converted to the format of its suffix. Below it: checks of files to write.
"""

import csv
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby, islice, takewhile
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from speech_emotion.inference.formats import format_of
from speech_emotion.inference.rows import Row, cell, text, value
from speech_emotion.locks import Lock

_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # names that are not UTF-8 are preserved
_BYTES_PER_ROW = 200
_ANEW = "leave out --resume to start over"


class Table:
    """Writes `path`, as `path`.part until it is complete; the first column is the recording's url.

    `path`.run.part identifies the run that the part belongs to, and `path`.lock.part keeps other processes out.

    >>> with Table("out.csv", ["url", "confidence"]) as table:
    ...     table.write([{"url": "a.wav", "confidence": 0.5}])
    ...     table.finish()
    """

    def __init__(
        self,
        path: str | Path,
        columns: list[str],
        resume: bool = False,
        belongs_to: str = "",
        of: "Table | None" = None,
    ):
        """With `resume`, the recordings in the part file are kept, except the last, which may be incomplete.

        `belongs_to` identifies everything that changes rows. `of` is the table of recordings, if this is the table of
        their windows; a recording's rows are written to it last. Raises OSError if the part file cannot be written,
        Busy if another process writes it, ValueError if the existing rows belong to another run or the format is for
        other rows, ImportError if the format needs a package that is not installed.
        """
        self.path, self.columns, self._belongs_to = Path(path), columns, belongs_to
        self._header = [cell("emotion", column) for column in columns]  # most are labels
        self._format = format_of(path, columns)  # to fail now rather than at the end
        self._target = output_path(path)
        self.part, self._run, lock = (Path(f"{self._target}{kind}") for kind in (".part", ".run.part", ".lock.part"))
        self._ends: dict[str, int] = {}  # where the rows of each kept recording end in the part file
        self._heard: set[str] = set()  # kept recordings with an emotion
        self._file = None
        self._lock = Lock(lock, f"{path} is being written")
        try:
            if resume and self.part.exists():
                self._read_before(of)
            if of is not None and not of._heard <= self._ends.keys():
                raise ValueError(f"{path} lacks windows of recordings that are in {of.path}; {_ANEW}")
            if not self._ends:  # else what is done again is cut off when that is done: this run may still be refused
                self._open()
        except BaseException:
            self.__exit__()
            raise

    def __contains__(self, url: str) -> bool:
        """Whether the rows of `url` were kept."""
        return url in self._ends

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *exception) -> None:
        if self._file:
            self._file.close()
            if not self._has_rows:
                self.part.unlink(missing_ok=True)
        if not self.part.exists():
            self._run.unlink(missing_ok=True)
        self._lock.release()

    def kept(self) -> Iterator[list[Row]]:
        """The kept rows, recording by recording."""
        with self.part.open("rb") as file:
            kept = takewhile(lambda row: row[1] <= self._end, _whole_rows(file))
            rows = (_row(self.columns, cells) for cells, _ in islice(kept, 1, None))
            for _, own in groupby(rows, itemgetter(self.columns[0])):
                yield list(own)

    def write(self, rows: Iterable[Row]) -> None:
        """Add all rows of a recording, or of several. Raises OSError on a full disk."""
        if self._file is None:
            self._open()
        for row in rows:
            self._writer.writerow([cell(column, row[column]) for column in self.columns])
            self._has_rows = True
        self._file.flush()  # so that finished rows survive the end of the process

    def finish(self, *others: "Table") -> None:
        """Rename the complete table, and `others` (the tables of its windows).

        The part files are deleted after that, this one's first: until then a killed run can be resumed.
        """
        tables = (self, *others)
        for table in tables:
            table._name()
        for table in tables:
            table.part.unlink()

    def _name(self) -> None:
        if self._file is None:
            self._open()
        self._file.close()
        whole = Path(f"{self._target}.whole.part")
        if self._format is None:
            shutil.copyfile(self.part, whole)
        else:
            self._format.write(whole, self.columns, _read_csv(self.part))
        whole.replace(self._target)

    @property
    def _end(self) -> int:
        """Where the kept rows end in the part file."""
        return next(reversed(self._ends.values()), 0)

    def _open(self) -> None:
        """Continue after the kept rows."""
        self._has_rows = bool(self._ends)
        self._file = self.part.open("r+" if self._has_rows else "w", newline="", **_ENCODING)
        self._file.truncate(self._end)
        self._file.seek(0, os.SEEK_END)
        self._writer = csv.writer(self._file)
        if not self._has_rows:
            self._run.write_text(self._belongs_to)  # while there are no rows that it could be wrong about
            self._writer.writerow(self._header)
            self._file.flush()

    def _read_before(self, of: "Table | None") -> None:
        """Find the recordings to keep."""
        emotion = self.columns.index("emotion") if "emotion" in self.columns else 0
        with self.part.open("rb") as file:
            rows = _whole_rows(file)
            if next(rows, (self._header, 0))[0] != self._header:
                raise ValueError(f"{self.part} has other columns, perhaps from another model; {_ANEW}")
            for row, end in rows:
                if len(row) != len(self.columns) or (of is not None and text(row[0]) not in of):
                    break
                self._ends[url := text(row[0])] = end
                if row[emotion]:
                    self._heard.add(url)
        if self._ends and (self._run.read_text() if self._run.exists() else "") != self._belongs_to:
            raise ValueError(f"{self.part} is from a run with another model or other options; {_ANEW}")
        if self._ends and of is None:  # of windows, all of a recording were written before its row
            self._heard.discard(self._ends.popitem()[0])


def read_table(path: str | Path) -> Iterator[Row]:
    """The rows of a finished table, one at a time.

    Raises ValueError for a track, which does not hold all rows; ValueError or csv.Error if no Table wrote the file.
    """
    found = format_of(path)
    if found and found.is_track:
        raise ValueError(f"{path} holds no probabilities to read")
    return found.read(path) if found else _read_csv(path)


def fingerprint(settings: list, recordings: Iterable[str]) -> str:
    """A digest of a run: its settings, and the other recordings that its rows depend on."""
    digest = hashlib.sha256(repr(settings).encode())
    for recording in recordings:
        digest.update(b"\0" + os.fsencode(recording))
    return digest.hexdigest()[:16]


def check_space(path: str | Path, n_rows: int) -> None:
    """Raises OSError if the disk of `path` has no room for a table of `n_rows`."""
    free, needed = shutil.disk_usage(Path(path).absolute().parent).free, n_rows * _BYTES_PER_ROW
    if free < needed:
        raise OSError(f"the disk of {path} has {free / 1e6:.1f} MB left, the table needs about {needed / 1e6:.1f} MB")


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


def _whole_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """The cells of each row, including the header, and where it ends in the file; stops at an incomplete row."""
    with suppress(csv.Error):
        for cells in _rows_of(takewhile(lambda line: line.endswith(b"\n"), file)):
            yield cells, file.tell()


def _read_csv(path: str | Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        rows = _rows_of(file)
        columns = list(map(text, next(rows, [])))
        for cells in rows:
            yield _row(columns, cells)


def _rows_of(lines: Iterable[bytes]) -> Iterator[list[str]]:
    return filter(None, csv.reader((line.decode(**_ENCODING) for line in lines), strict=True))


def _row(columns: list[str], cells: list[str]) -> Row:
    return dict(zip(columns, map(value, columns, cells), strict=True))
