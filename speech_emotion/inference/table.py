"""A table that is written row by row, appears under its name when it is whole, and can be gone on with.

It is CSV; under a name that ends in .parquet it becomes Parquet when it is whole.
"""

import csv
import os
import shutil
from collections.abc import Container, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from speech_emotion.inference.rows import cell

_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a name that is not UTF-8 comes back byte for byte
_BYTES_PER_ROW = 200


class Table:
    """`path` in the making, under the name `path`.part until it is whole; the first column is the recording's url.

    >>> with Table("out.csv", ["url", "confidence"]) as table:
    ...     table.write([{"url": "a.wav", "confidence": 0.5}])
    ...     table.finish()
    """

    def __init__(
        self,
        path: str | Path,
        columns: list[str],
        resume: bool = False,
        only: Container[str] | None = None,
        begun: bool = False,
    ):
        """With `resume`, the rows of the part file stay, up to one that is torn or whose url is not in `only`.

        Raises OSError when the part file cannot be written, ValueError when there is none although the work has
        `begun`, or when it has other columns, ImportError when Parquet needs what is not installed.
        """
        self.path, self.part, self.columns = Path(path), Path(f"{path}.part"), columns
        if _is_parquet(path):
            import speech_emotion.inference.parquet  # noqa: F401  to know now rather than at the end
        if self.path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file for the table")
        if begun and not self.part.exists():
            raise ValueError(f"there is no {self.part} to go on from; leave out --resume or this table")
        self._urls: set[str] = set()
        end = self._read_part(only) if resume and self.part.exists() else 0
        self._file = self.part.open("r+" if end else "w", newline="", **_ENCODING)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        self._writer = csv.writer(self._file)
        if end == 0:
            self._write([columns])

    def __contains__(self, url: str) -> bool:
        """Whether there is a row for `url` from before."""
        return cell("url", url) in self._urls

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()

    def write(self, rows: Iterable[dict]) -> None:
        """Add rows. Raises OSError on a full disk."""
        self._write([cell(column, row[column]) for column in self.columns] for row in rows)

    def finish(self) -> None:
        """Give the whole table its name."""
        self._file.close()
        if not _is_parquet(self.path):
            self.part.replace(self.path)
            return
        from speech_emotion.inference.parquet import write_parquet

        whole = Path(f"{self.path}.whole.part")
        write_parquet(whole, self.columns, _read_csv(self.part))
        whole.replace(self.path)
        self.part.unlink()

    def _write(self, rows: Iterable[list[str]]) -> None:
        self._writer.writerows(rows)
        self._file.flush()  # what was made survives whatever ends the process

    def _read_part(self, only: Container[str] | None) -> int:
        """Note the urls of the rows that stay; returns where the last of them ends, in bytes."""
        with self.part.open("rb") as file:
            rows = _whole_rows(file)
            header, end = next(rows, (self.columns, 0))
            if header != self.columns:
                raise ValueError(f"{self.part} has other columns, perhaps of another model; delete it to start anew")
            for row, end_of_row in rows:
                if len(row) != len(self.columns) or (only is not None and row[0] not in only):
                    break
                self._urls.add(row[0])
                end = end_of_row
        return end


def read_table(path: str | Path) -> Iterator[dict]:
    """The rows of a finished table, one at a time; the numbers are strings, but floats or None in Parquet."""
    if _is_parquet(path):
        from speech_emotion.inference.parquet import read_parquet

        return read_parquet(path)
    return _read_csv(path)


def _is_parquet(path: str | Path) -> bool:
    return Path(path).suffix == ".parquet"


def _read_csv(path: str | Path) -> Iterator[dict[str, str]]:
    with open(path, newline="", **_ENCODING) as file:
        yield from csv.DictReader(file)


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
