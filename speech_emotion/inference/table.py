"""A table that is written row by row, appears under its name when it is whole, and can be gone on with.

It is CSV; when it is whole it becomes what the ending of its name asks for.
"""

import csv
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import BinaryIO

from speech_emotion.inference.formats import format_of
from speech_emotion.inference.rows import TEXT, cell, value
from speech_emotion.inference.targets import target
from speech_emotion.locks import Lock

_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a name that is not UTF-8 comes back byte for byte
_BYTES_PER_ROW = 200
_ROUNDING = 2e-3  # the same recording in another batch, or on another device, differs by less
_ANEW = "leave out --resume to start anew"


class Table:
    """`path` in the making, under the name `path`.part until it is whole; the first column is the recording's url.

    Beside the part, `path`.run.part says which run it belongs to, and `path`.lock.part keeps other processes out.

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
        """With `resume`, rows from before stay: those of the part file up to a torn one, or else of the whole table.

        `belongs_to` names whatever changes rows. `of` is the table of the recordings of which this one has windows; it
        gets a recording's row after this one. Raises OSError when the part file cannot be written, Busy when another
        process writes it, ValueError when the rows from before are not of this run or the format is for other rows,
        ImportError when the format needs what is not installed.
        """
        self.path, self.columns, self._belongs_to = Path(path), columns, belongs_to
        self._format = format_of(path, columns)  # to know now rather than at the end
        self._target = target(path)
        self.part, self._run, lock = (Path(f"{self._target}{kind}") for kind in (".part", ".run.part", ".lock.part"))
        self.n_heard = 0  # rows from before with an emotion
        self.example: str | None = None  # the url of the first of them
        self.was_whole = False  # before this run: then who made it is not known, see confirm
        self._urls: set[str] = set()
        self._file = None
        self._lock = Lock(lock, f"{path} is being written")
        try:
            end = self._read_before(of) if resume else 0
            if not self.was_whole:
                self._open(end)
        except BaseException:
            self.__exit__()
            raise

    def __len__(self) -> int:
        """How many recordings have rows from before."""
        return len(self._urls)

    def __contains__(self, url: str) -> bool:
        """Whether there is a row for `url` from before."""
        return self._key(cell("url", url)) in self._urls

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

    def write(self, rows: Iterable[dict]) -> None:
        """Add rows. Raises OSError on a full disk."""
        if self._file is None:
            self._open_whole()
        self._write([cell(column, row[column]) for column in self.columns] for row in rows)

    def confirm(self, rows: list[dict]) -> None:
        """Raises ValueError when the table was whole before, and says otherwise than `rows`, all of one recording."""
        if not self.was_whole or (self._format and self._format.is_track):
            return
        url = self._key(cell("url", rows[0]["url"]))
        from_there = dropwhile(lambda row: row["url"] != url, read_table(self.path))
        there = list(takewhile(lambda row: row["url"] == url, from_there))
        numbers = [column for column in self.columns if column not in TEXT]
        if len(there) != len(rows) or not all(
            row[column] is not None and abs(float(before[column]) - row[column]) < _ROUNDING
            for before, row in zip(there, rows, strict=True)
            for column in numbers
        ):
            raise ValueError(f"{self.path} is of another model or of other options; {_ANEW}")

    def finish(self) -> None:
        """Give the whole table its name."""
        if self._file is None:  # it has it
            return
        self._file.close()
        if self._format is None:
            self.part.replace(self._target)
            return
        self._format.write(self._whole, self.columns, _read_csv(self.part))
        self._whole.replace(self._target)
        self.part.unlink()

    @property
    def _whole(self) -> Path:
        return Path(f"{self._target}.whole.part")

    def _key(self, url: str) -> str:
        return value("url", url) if self.was_whole and self._format else url

    def _open(self, end: int) -> None:
        """Write on behind the first `end` bytes."""
        self._file = self.part.open("r+" if end else "w", newline="", **_ENCODING)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        self._writer = csv.writer(self._file)
        self._has_rows = len(self) > 0
        if end == 0:
            self._run.write_text(self._belongs_to)  # while there are no rows that it could be wrong about
            self._writer.writerow(self.columns)
            self._file.flush()

    def _open_whole(self) -> None:
        """Write on behind a copy of the whole table."""
        if self._format:
            with self._whole.open("w", newline="", **_ENCODING) as file:
                writer = csv.writer(file)
                writer.writerow(self.columns)
                rows = read_table(self.path)
                writer.writerows([cell(column, row[column]) for column in self.columns] for row in rows)
        else:
            shutil.copyfile(self.path, self._whole)
        self._run.write_text(self._belongs_to)
        self._whole.replace(self.part)
        self._open(self.part.stat().st_size)

    def _write(self, rows: Iterable[list[str]]) -> None:
        for row in rows:
            self._writer.writerow(row)
            self._has_rows = True
        self._file.flush()  # what was made survives whatever ends the process

    def _read_before(self, of: "Table | None") -> int:
        """Note the rows that stay; returns where the last of them ends in the part file."""
        end = 0
        if self.part.exists():
            with self.part.open("rb") as file:
                end = self._note(_whole_rows(file), self.part, of)
            if self._urls and (self._run.read_text() if self._run.exists() else "") != self._belongs_to:
                raise ValueError(f"{self.part} is of another model or of other options; {_ANEW}")
        elif self.path.exists() and (size := self.path.stat().st_size) and (of is None or len(of)):
            self.was_whole = True
            if self._format and self._format.is_track:  # which does not say whose it is
                self._urls, self.n_heard = of._urls, of.n_heard
            elif self._format:
                self._note(_rows_with_header(self.path), self.path, of)
            else:
                with self.path.open("rb") as file:
                    if self._note(_whole_rows(file), self.path, of) < size:
                        raise ValueError(f"{self.path} is of another run, or no table; {_ANEW}")
        if of is not None and len(self) < of.n_heard:
            raise ValueError(f"{self.path} lacks windows of recordings that are in {of.path}; {_ANEW}")
        return end

    def _note(self, rows: Iterator[tuple[list[str], int]], path: Path, of: "Table | None") -> int:
        """Note the urls of `rows`, with the header before them; returns where the last of them ends, in bytes."""
        header, end = next(rows, (self.columns, 0))
        if header != self.columns:
            raise ValueError(f"{path} has other columns, perhaps of another model; {_ANEW}")
        emotion = self.columns.index("emotion") if "emotion" in self.columns else 0
        for row, end_of_row in rows:
            if len(row) != len(self.columns) or (of is not None and row[0] not in of._urls):
                break
            self._urls.add(row[0])
            if row[emotion]:
                self.n_heard += 1
                self.example = self.example or row[0]
            end = end_of_row
        return end


def read_table(path: str | Path) -> Iterator[dict]:
    """The rows of a finished table, one at a time; of CSV the numbers are strings, else floats or None.

    Raises ValueError for a track, which does not hold them all.
    """
    found = format_of(path)
    if found is None:
        return _read_csv(path)
    if found.is_track:
        raise ValueError(f"{path} holds no probabilities to read")
    return found.read(path)


def _rows_with_header(path: Path) -> Iterator[tuple[list[str], int]]:
    """As _whole_rows, of a whole table in which numbers are numbers."""
    for n, row in enumerate(read_table(path)):
        if n == 0:
            yield list(row), 0
        yield ["" if field is None else field for field in row.values()], 0


def _read_csv(path: str | Path) -> Iterator[dict[str, str]]:
    with open(path, newline="", **_ENCODING) as file:
        yield from csv.DictReader(file)


def fingerprint(settings: list, recordings: Iterable[str]) -> str:
    """A short name for a run: what it is set to, and on which recordings its rows depend beside their own."""
    digest = hashlib.sha256(repr(settings).encode())
    for recording in recordings:
        digest.update(b"\0" + os.fsencode(recording))
    return digest.hexdigest()[:16]


def check_space(path: str | Path, n_rows: int) -> None:
    """Raises OSError when the disk of `path` has no room for a table of `n_rows`."""
    free, needed = shutil.disk_usage(Path(path).absolute().parent).free, n_rows * _BYTES_PER_ROW
    if free < needed:
        raise OSError(f"the disk of {path} has {free / 1e6:.1f} MB left, the table needs about {needed / 1e6:.1f} MB")


def _whole_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """Each row and where it ends in the file, up to one that was torn."""
    lines = takewhile(lambda line: line.endswith(b"\n"), file)
    try:
        for row in csv.reader((line.decode(**_ENCODING) for line in lines), strict=True):
            yield row, file.tell()
    except csv.Error:
        return
