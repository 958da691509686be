"""The rows of a table as one Parquet file."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

try:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, ParquetWriter
except ImportError as error:
    raise ImportError("a .parquet table needs pyarrow: pip install -r requirements-ray.txt") from error

_TEXT = ("url", "emotion", "error")  # every other column is a number
_ROWS_AT_ONCE = 2**16


def write_parquet(path: Path, columns: list[str], rows: Iterable[dict[str, str]]) -> None:
    """Numbers become float32, null where there is none; a byte that is not UTF-8 becomes \\xff."""
    schema = pa.schema([(name, pa.string() if name in _TEXT else pa.float32()) for name in columns])
    rows = iter(rows)
    with ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            values = [{name: _value(name, row[name]) for name in columns} for row in some]
            writer.write_table(pa.Table.from_pylist(values, schema))


def read_parquet(path: str | Path) -> Iterator[dict]:
    with ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _value(name: str, cell: str) -> str | float | None:
    if name in _TEXT:
        return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return float(cell) if cell else None
