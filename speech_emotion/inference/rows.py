"""What a row says: the columns of every table, which are text and which numbers, and how a row comes about."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from speech_emotion.audio.reading import printable

Row = dict[str, str | float | None]

TEXT = ("url", "emotion", "error")
FIXED = (*TEXT, "confidence", "start", "end")  # every other column is a label with its probability
# Where a cell begins, also for a spreadsheet that splits at ; or tab, with what is executed as a formula behind it.
_CELL = r"(?:^|(?<=[;\t\r\n]))"
_FORMULA = r"(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])"  # the last four are the wide forms
_BARE, _QUOTED = re.compile(_CELL + _FORMULA), re.compile(f"{_CELL}'{_FORMULA}")


def columns(labels: Sequence[str]) -> list[str]:
    """Of out.csv: a row for each recording."""
    return ["url", "emotion", "confidence", *labels, "error"]


def window_columns(labels: Sequence[str]) -> list[str]:
    """Of the timeline: a row for each window that counts, `start` and `end` in seconds."""
    return ["url", "start", "end", "emotion", "confidence", *labels]


def error_row(url: str, labels: Sequence[str], error: str) -> Row:
    """A recording without an emotion; `error` says why, without its name."""
    return {"url": url, "emotion": "", "confidence": None, **dict.fromkeys(labels), "error": error}


def window_row(url: str, labels: Sequence[str], probabilities: Sequence[float], span: tuple[float, float]) -> Row:
    start, end = span
    return {"url": url, "start": start, "end": end, **_answer(labels, probabilities)}


def recording_row(url: str, labels: Sequence[str], windows: Sequence[Row]) -> Row:
    """The mean of the rows of its windows."""
    mean = np.mean([[window[label] for label in labels] for window in windows], axis=0)
    return {"url": url, **_answer(labels, mean.tolist()), "error": ""}


def spans_apart(windows: Iterable[Row]) -> list[list[float]]:
    """[start, end] of each window of a recording in seconds; where two overlap, they meet in the middle."""
    spans: list[list[float]] = []
    for window in windows:
        start, end = float(window["start"]), float(window["end"])
        if spans and start < spans[-1][1]:
            start = spans[-1][1] = round((start + spans[-1][1]) / 2, 4)
        spans.append([start, end])
    return spans


def prediction_row(clip: str, emotion: str, row: Row) -> Row:
    """Of a prediction file: a clip, its true emotion, and what was said of it."""
    probabilities = {column: value for column, value in row.items() if column not in FIXED}
    return {"clip": clip, "emotion": emotion, "prediction": row["emotion"], **probabilities}


def error_sentence(row: Row) -> str:
    """For a terminal: which recording has no emotion, and why."""
    return f"{printable(row['url'])}: {printable(row['error'])}"


def cell(column: str, value: str | float | None) -> str:
    """What CSV holds: numbers with four decimals, text with an apostrophe before what a spreadsheet would execute."""
    if column in TEXT:
        return _BARE.sub("'", value)
    return "" if value is None else f"{value:.4f}"


def text(cell: str) -> str:
    """What a cell of text says: without the apostrophes that `cell` adds, and with those that were there before."""
    return _QUOTED.sub("", cell)


def value(column: str, cell: str) -> str | float | None:
    """What a cell says, for tables in which numbers are numbers; a byte that is not UTF-8 becomes \\xff."""
    if column in TEXT:
        return text(cell).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return float(cell) if cell else None


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> Row:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.get)
    return {"emotion": emotion, "confidence": by_label[emotion], **by_label}
