"""What a table becomes when it is whole, by the ending of its name: a new format is a function and a line here.

Rows come as CSV has them, strings that rows.value understands. The formats of annotation programs hold the emotions of
one recording over time, and no probabilities.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from speech_emotion.inference.rows import spans_apart, value

Rows = Iterable[dict[str, str]]
Segment = tuple[float, float, str]  # start and end in seconds, emotion


@dataclass(frozen=True)
class Format:
    """How a file is written, and how its rows are read again where it holds them all."""

    write: Callable[[Path, list[str], Rows], None]
    read: Callable[[str | Path], Iterator[dict]] | None = None

    @property
    def is_track(self) -> bool:
        """Whether it holds the emotions of one recording over time."""
        return self.read is None


def format_of(path: str | Path, columns: list[str] | None = None) -> Format | None:
    """The format of a table with these columns; None for CSV.

    Raises ImportError when it needs what is not installed, ValueError for a track of rows without times.
    """
    ending = Path(path).suffix.lower()
    found = FORMATS[ending]() if ending in FORMATS else None
    if found and found.is_track and columns is not None and "start" not in columns:
        raise ValueError(
            f"{path} would hold emotions over time, which --timeline writes; a table of recordings ends in .csv"
        )
    return found


def is_track(path: str | Path) -> bool:
    """Whether a file of that name holds the emotions of one recording over time. Raises ImportError as format_of."""
    found = format_of(path)
    return found is not None and found.is_track


def tracks(rows: list[dict]) -> dict[str, str]:
    """The windows of one recording as the text of every track whose library is installed, by the ending of its name."""
    found = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "track"
        for ending in TRACKS:
            with suppress(ImportError):
                FORMATS[ending.lower()]().write(path, [], rows)
                found[ending] = path.read_text(encoding="utf-8")
    return found


def segments(rows: Iterable[dict]) -> list[Segment]:
    """The windows of a recording as stretches that do not overlap, neighbours of one emotion joined."""
    rows = list(rows)
    found: list[list] = []
    for (start, end), row in zip(spans_apart(rows), rows, strict=True):
        if found and found[-1][1:] == [start, row["emotion"]]:
            found[-1][1] = end
        else:
            found.append([start, end, row["emotion"]])
    return [tuple(segment) for segment in found]


def _parquet() -> Format:
    from speech_emotion.inference.parquet import read_parquet, write_parquet

    return Format(write_parquet, read_parquet)


def _json_lines() -> Format:
    def write(path: Path, columns: list[str], rows: Rows) -> None:
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps({name: value(name, row[name]) for name in columns}, ensure_ascii=False) + "\n")

    def read(path: str | Path) -> Iterator[dict]:
        with open(path, encoding="utf-8") as file:
            yield from map(json.loads, file)

    return Format(write, read)


def _text_grid() -> Format:
    try:
        from praatio.textgrid import IntervalTier, Textgrid
    except ImportError as error:
        raise ImportError("a .TextGrid needs praatio: pip install -r requirements-timeline.txt") from error

    def write(path: Path, columns: list[str], rows: Rows) -> None:
        found = segments(rows)
        grid = Textgrid()
        grid.addTier(IntervalTier("emotion", found, minT=0, maxT=found[-1][1] if found else 1))
        grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)

    return Format(write)


def _subtitles() -> Format:
    try:
        from pysubs2 import SSAEvent, SSAFile
    except ImportError as error:
        raise ImportError("subtitles need pysubs2: pip install -r requirements-timeline.txt") from error

    def write(path: Path, columns: list[str], rows: Rows) -> None:
        file = SSAFile()
        for start, end, emotion in segments(rows):
            file.append(SSAEvent(round(1000 * start), round(1000 * end), emotion))
        file.save(str(path), format_="srt")

    return Format(write)


def _audacity_labels() -> Format:
    def write(path: Path, columns: list[str], rows: Rows) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, "excel-tab", lineterminator="\n").writerows(
                (f"{start:.6f}", f"{end:.6f}", emotion) for start, end, emotion in segments(rows)
            )

    return Format(write)


TRACKS = (".TextGrid", ".srt", ".txt")  # as their programs spell them

FORMATS: dict[str, Callable[[], Format]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".textgrid": _text_grid,
    ".srt": _subtitles,
    ".txt": _audacity_labels,
}
