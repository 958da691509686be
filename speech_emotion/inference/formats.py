"""The formats of finished tables, by the suffix of the file: a new format is a function and an entry in FORMATS.

The formats of annotation programs ("tracks") hold the emotions of one recording over time, without probabilities.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from speech_emotion.inference.rows import TEXT, Row, in_utf8
from speech_emotion.optional import needed_by

Segment = tuple[float, float, str]  # start and end in seconds, emotion
_ROWS_AT_ONCE = 2**16  # of a Parquet file


@dataclass(frozen=True)
class Format:
    """How a file is written and, if it holds all rows, how they are read again."""

    write: Callable[[Path, list[str], Iterable[Row]], None]
    read: Callable[[str | Path], Iterator[Row]] | None = None

    @property
    def is_track(self) -> bool:
        """Whether it holds the emotions of one recording over time."""
        return self.read is None


def format_of(path: str | Path, columns: list[str] | None = None) -> Format | None:
    """The format of a table with these columns; None for CSV.

    Raises ImportError if an optional package is missing, ValueError for an unknown suffix and for a track of rows
    without times.
    """
    ending = Path(path).suffix.lower()
    if ending == ".csv":
        return None
    if ending not in FORMATS:
        raise ValueError(
            f"{path} is not in a known format: a table ends in {', '.join(TABLES)}, a timeline also in "
            f"{', '.join(TRACKS)}"
        )
    found = _load(ending)
    if found.is_track and columns is not None and "start" not in columns:
        raise ValueError(
            f"{path} would hold emotions over time, which --timeline writes; a table of recordings ends in .csv"
        )
    return found


def package_of(path: str | Path) -> str | None:
    """The optional package that writing this file needs."""
    return FORMATS.get(Path(path).suffix.lower(), (None, None))[0]


def is_track(path: str | Path) -> bool:
    """Whether this file holds the emotions of one recording over time. Raises ImportError as format_of."""
    found = format_of(path)
    return found is not None and found.is_track


def tracks(rows: list[Row]) -> dict[str, str]:
    """The stretches of one recording as the text of every available track format, by suffix."""
    found = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "track"
        for ending in TRACKS:
            with suppress(ImportError):
                _load(ending.lower()).write(path, [], rows)
                found[ending] = path.read_text(encoding="utf-8")
    return found


def segments(rows: Iterable[Row]) -> dict[str, list[Segment]]:
    """The stretches by channel ("" without channels), adjacent ones with the same emotion joined."""
    found: dict[str, list[Segment]] = {}
    for row in rows:
        start, end, emotion = row["start"], row["end"], row["emotion"]
        own = found.setdefault(str(row.get("channel") or ""), [])
        if own and own[-1][1:] == (start, emotion):
            start = own.pop()[0]
        own.append((start, end, emotion))
    return found


def captions(rows: Iterable[Row]) -> list[Segment]:
    """The segments of all channels in order of time, with the channel before the emotion."""
    by_channel = segments(rows).items()
    return sorted(
        (start, end, f"{channel}: {emotion}" if channel else emotion)
        for channel, own in by_channel
        for start, end, emotion in own
    )


def _load(ending: str) -> Format:
    package, load = FORMATS[ending]
    with needed_by(f"a {ending} file", package):
        return load()


def _parquet() -> Format:
    """Numbers become float32, a channel int32, null where there is none."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, ParquetWriter

    def write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
        kinds = {**dict.fromkeys(TEXT, pa.string()), "channel": pa.int32()}
        schema = pa.schema([(name, kinds.get(name, pa.float32())) for name in columns])
        rows = map(in_utf8, rows)
        with ParquetWriter(path, schema) as writer:
            while some := list(islice(rows, _ROWS_AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(some, schema))

    def read(path: str | Path) -> Iterator[Row]:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()

    return Format(write, read)


def _json_lines() -> Format:
    def write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
        with path.open("w", encoding="utf-8") as file:
            for row in map(in_utf8, rows):
                file.write(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) + "\n")

    def read(path: str | Path) -> Iterator[Row]:
        with open(path, encoding="utf-8") as file:
            yield from map(json.loads, file)

    return Format(write, read)


def _text_grid() -> Format:
    from praatio.textgrid import IntervalTier, Textgrid

    def write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
        found = segments(rows) or {"": []}
        end = max((each[-1][1] for each in found.values() if each), default=1)
        grid = Textgrid()
        for channel, own in sorted(found.items()):
            grid.addTier(IntervalTier(f"channel {channel}" if channel else "emotion", own, minT=0, maxT=end))
        grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)

    return Format(write)


def _subtitles(kind: str) -> Format:
    from pysubs2 import SSAEvent, SSAFile

    def write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
        file = SSAFile()
        for start, end, text in captions(rows):
            file.append(SSAEvent(round(1000 * start), round(1000 * end), text))
        file.save(str(path), format_=kind)

    return Format(write)


def _audacity_labels() -> Format:
    def write(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, "excel-tab", lineterminator="\n").writerows(
                (f"{start:.6f}", f"{end:.6f}", text) for start, end, text in captions(rows)
            )

    return Format(write)


TABLES = (".csv", ".jsonl", ".parquet")
TRACKS = (".TextGrid", ".srt", ".vtt", ".txt")  # as their programs spell them

FORMATS: dict[str, tuple[str | None, Callable[[], Format]]] = {  # with the optional package that each needs
    ".parquet": ("pyarrow", _parquet),
    ".jsonl": (None, _json_lines),
    ".textgrid": ("praatio", _text_grid),
    ".srt": ("pysubs2", partial(_subtitles, "srt")),
    ".vtt": ("pysubs2", partial(_subtitles, "vtt")),
    ".txt": (None, _audacity_labels),
}
