"""The user's own corpus: a CSV file with the columns `path`, `emotion` and, optionally, `speaker`."""

import codecs
import csv
import io
import os
import re
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from speech_emotion.audio.files import is_url
from speech_emotion.corpora.spelling import some, spelling

# Accepted column names, in any case; speaker is optional.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "url", "audio"),
    "emotion": ("emotion", "emotions", "label", "labels"),
    "speaker": ("speaker", "speaker_id"),
}
DELIMITERS = ",;\t"  # spreadsheets write semicolons in much of Europe, and tabs as text
_LARGEST = 2**26  # bytes; 400 000 recordings with nine probabilities have about as many


class LabelsError(ValueError):
    """The table of labels cannot be used; the message is one sentence that names the file."""


def read_labels(file: str | Path, must_exist: bool = True) -> pd.DataFrame:
    """One row per recording: clip (the path as written), path, emotion, and speaker if the file has it.

    Paths are absolute, relative to the CSV file or else to the current folder, or urls; backslashes may stand for
    slashes. Labels are any words, compared in Unicode's composed form and without case. Rows without an emotion are
    left out; their number is `attrs["n_without_emotion"]`. Other columns are ignored, so out.csv is a table of labels.
    Identical rows count once. Raises LabelsError if the file is not a CSV table in UTF-8 or UTF-16, is empty or too
    large, lacks a column or a value, names recordings that do not exist (if `must_exist`), or gives one recording two
    emotions or speakers.
    """
    file = Path(file)
    rows, n_without_emotion = _rows(file)
    clips = pd.DataFrame(rows)[[column for column in COLUMNS if column in rows[0]]]
    clips.insert(0, "clip", clips["path"])
    clips["path"] = [_located(path, file.parent) for path in clips["path"]]
    clips["emotion"] = clips["emotion"].map(spelling(clips["emotion"].unique(), forms={}))
    clips = clips.drop_duplicates(clips.columns[1:], ignore_index=True)
    if len(twice := clips[clips["path"].duplicated(keep=False)]):
        same = twice[twice["path"] == twice["path"].iloc[0]]
        column = "emotions" if same["emotion"].nunique() > 1 else "speakers"
        values = " and ".join(same[column[:-1]].unique())
        raise LabelsError(f"{file} gives {same['clip'].iloc[0]} several {column}: {values}")
    if must_exist and len(absent := missing(clips)):
        raise LabelsError(absence(absent, len(clips), file))
    clips.attrs["n_without_emotion"] = n_without_emotion
    return clips


def missing(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips that do not exist on this machine; urls are not checked."""
    return clips[[not is_url(path) and not os.path.isfile(path) for path in clips["path"]]]


def absence(absent: pd.DataFrame, n: int, file: str | Path) -> str:
    """A sentence about missing recordings among the `n` in `file`."""
    do = "does" if len(absent) == 1 else "do"
    where = "beside it or in the current folder"
    return f"{len(absent)} of {n} recordings in {file} {do} not exist {where}: {some(absent['clip'])}"


def check_trainable(clips: pd.DataFrame) -> None:
    """Raises LabelsError if there is only one label, or a label with a single recording, which cannot be held out."""
    counts = clips["emotion"].value_counts()
    if len(counts) < 2:
        raise LabelsError(f"every recording is labelled {counts.index[0]}: training needs at least two emotions")
    if len(single := sorted(counts.index[counts == 1])):
        names = ", ".join(single)
        raise LabelsError(f"training needs at least two recordings of each emotion; there is only one of {names}")


def _rows(file: Path) -> tuple[list[dict[str, str]], int]:
    """The rows of the file with an emotion, with the keys of COLUMNS, and the number of those without."""
    rows, n_without_emotion = [], 0
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise LabelsError(f"{file} has more than {_LARGEST // 2**20} MB, which is too much for a table of labels")
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = io.TextIOWrapper(io.BytesIO(content), "utf-16" if is_utf16 else "utf-8-sig", newline="")
        first = lines.readline()
        if declared := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):  # a line that Excel heeds and hides
            delimiter, first = declared[1], lines.readline()
        else:
            delimiter = max(
                DELIMITERS, key=lambda delimiter: len(_named(next(csv.reader([first], delimiter=delimiter), [])))
            )
        reader = csv.DictReader(chain([first], lines), strict=True, skipinitialspace=True, delimiter=delimiter)
        names = _named(reader.fieldnames or [])
        if not reader.fieldnames:
            raise LabelsError(f"{file} is empty")
        if not {"path", "emotion"} <= names.keys():
            header = ", ".join(reader.fieldnames)
            raise LabelsError(f"{file} has the columns {header}: path and emotion are required, speaker is optional")
        for row in reader:
            where = f"line {reader.line_num + bool(declared)} of {file}"
            if any(value.strip() for value in row.pop(None, [])):
                raise LabelsError(
                    f"{where} does not have one value per column; a path that contains a comma needs quotes"
                )
            values = {column: normalize("NFC", (row[name] or "").strip()) for column, name in names.items()}
            if not values["emotion"]:
                n_without_emotion += any(values.values())  # spreadsheets also write rows of nothing but commas
                continue
            if empty := [column for column, value in values.items() if not value]:
                raise LabelsError(f"{where} has no {empty[0]}")
            values["path"] = row[names["path"]]  # unchanged, because file systems distinguish Unicode forms
            rows.append(values)
    except OSError as error:
        raise LabelsError(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{file} is not a CSV table in UTF-8 or UTF-16; save it as CSV UTF-8") from error
    if not rows:
        what = "emotions" if n_without_emotion else "recordings"
        raise LabelsError(f"{file} has no {what} below its first line")
    return rows, n_without_emotion


def _named(header: list[str]) -> dict[str, str]:
    """The name in the header of each of COLUMNS that it has."""
    by_name = {name.strip().lower(): name for name in reversed(header)}
    columns = {column: [by_name[name] for name in names if name in by_name] for column, names in COLUMNS.items()}
    return {column: names[0] for column, names in columns.items() if names}


def _located(path: str, folder: Path) -> str:
    """Where a recording is: the first of these that exists, else beside the table."""
    if is_url(path):
        return path
    spellings = path, path.replace("\\", "/"), path.removeprefix("'")  # which keeps spreadsheets from computing it
    places = [os.path.normpath(parent / name) for parent in (folder, Path()) for name in spellings]
    return next(filter(os.path.isfile, places), places[0])
