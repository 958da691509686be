"""The rows of recordings and stretches, and tables that are written recording by recording and can be resumed."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np

from speech_emotion.inference.formats import DECIMALS, TEXT, Row, format_of
from speech_emotion.outputs import locked_outputs, replaced
from speech_emotion.terminal import printable

FIXED = (*TEXT, "channel", "confidence", "start", "end")  # every other column is a label with its probability
LEAST_CONFIDENCE = 0.4  # a lower confidence, or a lead of less than LEAST_LEAD over the second label, is uncertain
LEAST_LEAD = 0.1


def columns(labels: Sequence[str], channels: str = "mix") -> list[str]:
    """Columns of out.csv: a row per recording, or with channels `each` per channel."""
    place = ["url", "channel"] if channels == "each" else ["url"]
    return [*place, "emotion", "confidence", *labels, "error"]


def stretch_columns(labels: Sequence[str], channels: str = "mix", has_segments: bool = False) -> list[str]:
    """Columns of the timeline: a row per stretch of speech, `start` and `end` in seconds.

    If the user gave segments, a row per segment, with its speaker and text.
    """
    place = ["url", "channel"] if channels == "each" else ["url"]
    given = ["speaker", "text", "error"] if has_segments else []
    return [*place, "start", "end", "emotion", "confidence", *labels, *given]


def error_row(url: str, labels: Sequence[str], error: str) -> Row:
    """The row of a recording or channel without an emotion; `error` says why, without the file name."""
    return {"url": url, "emotion": "", "confidence": None, **dict.fromkeys(labels), "error": error}


def stretch_row(url: str, labels: Sequence[str], probabilities: Sequence[float], span: tuple[float, float]) -> Row:
    start, end = span
    return {"url": url, "start": start, "end": end, **_answer(labels, probabilities)}


def recording_row(url: str, labels: Sequence[str], stretches: Sequence[Row], weights: Sequence[float]) -> Row:
    """The mean of the rows of the stretches, weighted by audible duration."""
    probabilities = [[stretch[label] for label in labels] for stretch in stretches]
    mean = np.average(probabilities, axis=0, weights=weights)
    return {"url": url, **_answer(labels, mean.tolist()), "error": ""}


def is_uncertain(row: Row) -> bool:
    """Whether an emotion is uncertain: its confidence is low, or the second label is close."""
    first, *others = sorted((row[label] for label in row if label not in FIXED), reverse=True)
    return first < LEAST_CONFIDENCE or first - max(others, default=0.0) < LEAST_LEAD


def error_sentence(row: Row) -> str:
    """A sentence for the terminal: which recording has no emotion, and why."""
    return f"{printable(row['url'])}: {printable(row['error'])}"


def rounded(row: Row) -> Row:
    """As a table holds it."""
    return {column: round(value, DECIMALS) if isinstance(value, float) else value for column, value in row.items()}


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> Row:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.get)
    return {"emotion": emotion, "confidence": by_label[emotion], **by_label}


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
        self._start = json.dumps([run, *self._columns]).encode() + b"\n"
        self._recordings: set[str] = set()
        self._length_s = 0.0  # of the latest recording
        with ExitStack() as locks:
            self._targets = locks.enter_context(locked_outputs(paths))
            self.part = Path(f"{self._targets[0]}.part")
            end = self._find_kept() if resume and self.part.exists() else 0
            self._file = self.part.open("ab")
            self._file.truncate(end)  # without a line that is incomplete, because the process was killed
            if not end:
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
        with ExitStack() as wholes:
            for number, (kind, target) in enumerate(zip(self._formats, self._targets, strict=True)):
                whole = wholes.enter_context(replaced(target, ".whole.part"))
                rows = chain.from_iterable(self._parts(number))
                kind.write(whole, self._columns[number], rows, self._length_s)
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
