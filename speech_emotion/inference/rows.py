"""Rows: the columns of every table, and how a row is made, written and read.

A row has the same form from the network to the file and back: text and numbers, None for a missing number.
"""

import re
from collections.abc import Sequence

import numpy as np

from speech_emotion.terminal import printable

Row = dict[str, str | int | float | None]

DECIMALS = 4  # of the numbers in a table
TEXT = ("url", "emotion", "speaker", "text", "error")
FIXED = (*TEXT, "channel", "confidence", "start", "end")  # every other column is a label with its probability
_LEAST_CONFIDENCE = 0.4  # a lower confidence, or a lead of less than _LEAST_LEAD over the second label, is uncertain
_LEAST_LEAD = 0.1
# Where a cell begins, also for a spreadsheet that splits at ; or tab, with what is executed as a formula behind it.
_CELL = r"(?:^|(?<=[;\t\r\n]))"
_FORMULA = r"(?=[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r])"  # the last four signs are the wide forms
_BARE, _QUOTED = re.compile(_CELL + _FORMULA), re.compile(f"{_CELL}'{_FORMULA}")


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


def prediction_row(clip: str, emotion: str, row: Row) -> Row:
    """The row of a prediction file: clip, true emotion, prediction and probabilities."""
    probabilities = {column: value for column, value in row.items() if column not in FIXED}
    return {"clip": clip, "emotion": emotion, "prediction": row["emotion"], **probabilities}


def is_uncertain(row: Row) -> bool:
    """Whether an emotion is uncertain: its confidence is low, or the second label is close."""
    first, *others = sorted((row[label] for label in row if label not in FIXED), reverse=True)
    return first < _LEAST_CONFIDENCE or first - max(others, default=0.0) < _LEAST_LEAD


def error_sentence(row: Row) -> str:
    """A sentence for the terminal: which recording has no emotion, and why."""
    return f"{printable(row['url'])}: {printable(row['error'])}"


def rounded(row: Row) -> Row:
    """As a table holds it."""
    return {column: round(value, DECIMALS) if isinstance(value, float) else value for column, value in row.items()}


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


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> Row:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.get)
    return {"emotion": emotion, "confidence": by_label[emotion], **by_label}
