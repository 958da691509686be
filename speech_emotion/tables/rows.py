"""What a row says: the columns of every table, which are text and which numbers, and how a row comes about.

A row has this one form from the network to the file and back: text, numbers, None where there is no number.
"""

import re
from collections.abc import Sequence

import numpy as np

from speech_emotion.terminal import printable

Row = dict[str, str | int | float | None]

DECIMALS = 4  # of the numbers in a table
TEXT = ("url", "emotion", "error")
FIXED = (*TEXT, "channel", "confidence", "start", "end")  # every other column is a label with its probability
_LEAST_CONFIDENCE = 0.4  # below it, or with less than _LEAST_LEAD over the second, an answer is uncertain
_LEAST_LEAD = 0.1
# Where a cell begins, also for a spreadsheet that splits at ; or tab, with what is executed as a formula behind it.
_CELL = r"(?:^|(?<=[;\t\r\n]))"
_FORMULA = r"(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r])"  # the last four signs are the wide forms
_BARE, _QUOTED = re.compile(_CELL + _FORMULA), re.compile(f"{_CELL}'{_FORMULA}")


def columns(labels: Sequence[str], channels: str = "mix") -> list[str]:
    """Of out.csv: a row for each recording, or with channels `each` for every channel of each."""
    return ["url", *_channel(channels), "emotion", "confidence", *labels, "error"]


def stretch_columns(labels: Sequence[str], channels: str = "mix") -> list[str]:
    """Of the timeline: a row for each stretch of speech, `start` and `end` in seconds."""
    return ["url", *_channel(channels), "start", "end", "emotion", "confidence", *labels]


def error_row(url: str, labels: Sequence[str], error: str) -> Row:
    """A recording, or a channel of it, without an emotion; `error` says why, without its name."""
    return {"url": url, "emotion": "", "confidence": None, **dict.fromkeys(labels), "error": error}


def stretch_row(url: str, labels: Sequence[str], probabilities: Sequence[float], span: tuple[float, float]) -> Row:
    start, end = span
    return {"url": url, "start": start, "end": end, **_answer(labels, probabilities)}


def recording_row(url: str, labels: Sequence[str], stretches: Sequence[Row], weights: Sequence[float]) -> Row:
    """The mean of the rows of its stretches, weighted by how long each is heard."""
    probabilities = [[stretch[label] for label in labels] for stretch in stretches]
    mean = np.average(probabilities, axis=0, weights=weights)
    return {"url": url, **_answer(labels, mean.tolist()), "error": ""}


def prediction_row(clip: str, emotion: str, row: Row) -> Row:
    """Of a prediction file: a clip, its true emotion, and what was said of it."""
    probabilities = {column: value for column, value in row.items() if column not in FIXED}
    return {"clip": clip, "emotion": emotion, "prediction": row["emotion"], **probabilities}


def is_uncertain(row: Row) -> bool:
    """Whether a row with an emotion had better not be relied on: its confidence is low, or another label is close."""
    first, *others = sorted((row[label] for label in row if label not in FIXED), reverse=True)
    return first < _LEAST_CONFIDENCE or first - max(others, default=0.0) < _LEAST_LEAD


def error_sentence(row: Row) -> str:
    """For a terminal: which recording has no emotion, and why."""
    return f"{printable(row['url'])}: {printable(row['error'])}"


def rounded(row: Row) -> Row:
    """As a table holds it."""
    return {column: round(value, DECIMALS) if isinstance(value, float) else value for column, value in row.items()}


def cell(column: str, value: str | float | None) -> str:
    """What CSV holds: rounded numbers, and text with an apostrophe before what a spreadsheet would execute."""
    if column in TEXT:
        return _BARE.sub("'", value)
    if value is None:
        return ""
    return str(value) if column == "channel" else f"{value:.{DECIMALS}f}"


def value(column: str, cell: str) -> str | float | None:
    """What a cell of CSV says. Raises ValueError where that is no number and should be one."""
    if column in TEXT:
        return text(cell)
    number = int if column == "channel" else float
    return number(cell) if cell else None


def text(cell: str) -> str:
    """What a cell of text says: without the apostrophes that `cell` adds, and with those that were there before."""
    return _QUOTED.sub("", cell)


def in_utf8(row: Row) -> Row:
    """For formats that hold nothing else: a byte of a name that is not UTF-8 becomes \\xff."""
    return {column: _in_utf8(value) if isinstance(value, str) else value for column, value in row.items()}


def _in_utf8(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> Row:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.get)
    return {"emotion": emotion, "confidence": by_label[emotion], **by_label}


def _channel(channels: str) -> list[str]:
    return ["channel"] if channels == "each" else []
