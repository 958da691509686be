"""The rows of a table as one Parquet file."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter

from speech_emotion.tables.rows import TEXT, Row, in_utf8

_ROWS_AT_ONCE = 2**16


def write_parquet(path: Path, columns: list[str], rows: Iterable[Row]) -> None:
    """Numbers become float32, a channel int32, null where there is none."""
    kinds = {**dict.fromkeys(TEXT, pa.string()), "channel": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.float32())) for name in columns])
    rows = map(in_utf8, rows)
    with ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema))


def read_parquet(path: str | Path) -> Iterator[Row]:
    with ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
