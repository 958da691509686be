"""The formats of finished tables, by the suffix of the file: a new format is a function and an entry in FORMATS.

The formats of annotation programs ("tracks") hold the emotions of one recording over time, without probabilities.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from speech_emotion.optional import needed_by

Row = dict[str, str | int | float | None]  # text and numbers, None for a missing number
Caption = tuple[float, float, str]  # start and end in seconds, emotion
DECIMALS = 4  # of the numbers in a table
TEXT = ("url", "emotion", "speaker", "text", "error")
# Where a cell begins, also for a spreadsheet that splits at ; or tab, with what is executed as a formula behind it.
_CELL = r"(?:^|(?<=[;\t\r\n]))"
_FORMULA = r"(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r])"  # the last four signs are the wide forms
_BARE, _QUOTED = re.compile(_CELL + _FORMULA), re.compile(f"{_CELL}'{_FORMULA}")
_UTF8 = {"encoding": "utf-8", "errors": "surrogateescape"}  # names that are not UTF-8 are preserved
_ROWS_AT_ONCE = 2**16  # of a Parquet file


@dataclass(frozen=True)
class Format:
    """How a file is written and, if it holds all rows, how they are read again."""

    write: Callable[[Path, list[str], Iterable[Row], float], None]  # the last is the recording's length in seconds
    read: Callable[[str | Path], Iterator[Row]] | None = None
    package: str | None = None  # that is not in requirements.txt

    @property
    def is_track(self) -> bool:
        """Whether it holds the emotions of one recording over time."""
        return self.read is None


def format_of(path: str | Path, columns: list[str] | None = None) -> Format:
    """The format of a table with these columns.

    Raises ImportError if an optional package is missing, ValueError for an unknown suffix and for a track of rows
    without times.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ValueError(
            f"{path} is not in a known format: a table ends in {', '.join(TABLES)}, a timeline also in "
            f"{', '.join(TRACKS)}"
        )
    kind = FORMATS[ending]
    if kind.package:
        with needed_by(f"a {ending} file", kind.package):
            import_module(kind.package)
    if kind.is_track and columns is not None and "start" not in columns:
        raise ValueError(
            f"{path} would hold emotions over time, which --timeline writes; a table of recordings ends in .csv"
        )
    return kind


def read_table(path: str | Path) -> Iterator[Row]:
    """The rows of a finished table, one at a time.

    Raises ValueError for a track, which does not hold all rows; ValueError or csv.Error if no Table wrote the file.
    """
    kind = format_of(path)
    if kind.is_track:
        raise ValueError(f"{path} holds no probabilities to read")
    return kind.read(path)


def as_text(ending: str, columns: list[str], rows: Iterable[Row], length_s: float = 0.0) -> str:
    """The text of a file with this ending. Raises ImportError if an optional package is missing."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        FORMATS[ending.lower()].write(path, columns, rows, length_s)
        return path.read_bytes().decode()


def joined(stretches: Iterable[Row]) -> dict[str, list[Caption]]:
    """The stretches by channel, or by speaker ("" without), adjacent ones with the same emotion joined.

    Segments that the user gave are not joined; their text follows the emotion.
    """
    by_channel: dict[str, list[Caption]] = {}
    for row in stretches:
        start, end, emotion = row["start"], row["end"], row["emotion"]
        of_channel = by_channel.setdefault(str(row.get("channel") or row.get("speaker") or ""), [])
        if "text" in row:  # a segment that the user gave keeps its text
            emotion = " ".join(filter(None, [f"[{emotion}]" if emotion else "", row["text"]]))
        elif of_channel and of_channel[-1][1:] == (start, emotion):
            start = of_channel.pop()[0]
        if emotion:
            of_channel.append((start, end, emotion))
    return by_channel


def captions(stretches: Iterable[Row]) -> list[Caption]:
    """The joined stretches in order of time, with the channel or speaker before the emotion."""
    return sorted(
        (start, end, f"{channel}: {emotion}" if channel else emotion)
        for channel, of_channel in joined(stretches).items()
        for start, end, emotion in of_channel
    )


def cell(column: str, value: str | float | None) -> str:
    """A value as CSV text: numbers rounded, formulas escaped with an apostrophe."""
    if column in TEXT:
        return _BARE.sub("'", value)
    if value is None:
        return ""
    return str(value) if column == "channel" else f"{value:.{DECIMALS}f}"


def value(column: str, cell: str) -> str | float | None:
    """The value of a CSV cell. Raises ValueError for text in a column of numbers."""
    if column in TEXT:
        return text(cell)
    number = int if column == "channel" else float
    return number(cell) if cell else None


def text(cell: str) -> str:
    """The text of a cell, without the apostrophes that `cell` added."""
    return _QUOTED.sub("", cell)


def in_utf8(row: Row) -> Row:
    """For formats that hold nothing else: a byte of a name that is not UTF-8 becomes \\xff."""
    texts = {column: value for column, value in row.items() if isinstance(value, str)}
    return row | {
        column: value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for column, value in texts.items()
    }


def _write_csv(path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    with path.open("w", newline="", **_UTF8) as file:
        writer = csv.writer(file)
        writer.writerow([cell("emotion", column) for column in columns])  # most are labels
        writer.writerows([cell(column, row[column]) for column in columns] for row in rows)


def _read_csv(path: str | Path) -> Iterator[Row]:
    with open(path, newline="", **_UTF8) as file:
        rows = filter(None, csv.reader(file, strict=True))
        columns = list(map(text, next(rows, [])))
        for cells in rows:
            yield dict(zip(columns, map(value, columns, cells), strict=True))


def _write_parquet(path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    """Numbers become float32, a channel int32, null where there is none."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = {**dict.fromkeys(TEXT, pa.string()), "channel": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.float32())) for name in columns])
    rows = map(in_utf8, rows)
    with ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema))


def _read_parquet(path: str | Path) -> Iterator[Row]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _write_json_lines(path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in map(in_utf8, rows):
            file.write(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n")


def _read_json_lines(path: str | Path) -> Iterator[Row]:
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def _write_text_grid(path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    """Every tier ends with the recording, so that Praat can join the TextGrids of several recordings."""
    from praatio.textgrid import IntervalTier, Textgrid

    tiers = joined(rows) or {"": []}
    end = max([round(length_s, DECIMALS), *(tier[-1][1] for tier in tiers.values() if tier)]) or 1  # none may be empty
    grid = Textgrid()
    for name, tier in sorted(tiers.items()):
        apart = [
            (max(start, before), stop, label)  # segments may overlap, intervals must not
            for (_, before, _), (start, stop, label) in pairwise([(0, 0, ""), *tier])
            if max(start, before) < stop
        ]
        title = f"channel {name}" if name.isdigit() else name or "emotion"
        grid.addTier(IntervalTier(title, apart, minT=0, maxT=end))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


def _write_subtitles(kind: str, path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    from pysubs2 import SSAEvent, SSAFile

    file = SSAFile()
    for start, end, emotion in captions(rows):
        file.append(SSAEvent(round(1000 * start), round(1000 * end), emotion))
    file.save(str(path), format_=kind)


def _write_audacity_labels(path: Path, columns: list[str], rows: Iterable[Row], length_s: float) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, "excel-tab", lineterminator="\n").writerows(
            (f"{start:.6f}", f"{end:.6f}", emotion) for start, end, emotion in captions(rows)
        )


TABLES = (".csv", ".jsonl", ".parquet")
TRACKS = (".TextGrid", ".srt", ".vtt", ".txt")  # as their programs spell them
FORMATS = {
    ".csv": Format(_write_csv, _read_csv),
    ".jsonl": Format(_write_json_lines, _read_json_lines),
    ".parquet": Format(_write_parquet, _read_parquet, "pyarrow"),
    ".textgrid": Format(_write_text_grid, package="praatio"),
    ".srt": Format(partial(_write_subtitles, "srt"), package="pysubs2"),
    ".vtt": Format(partial(_write_subtitles, "vtt"), package="pysubs2"),
    ".txt": Format(_write_audacity_labels),
}
