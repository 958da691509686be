"""The user's own corpus: a CSV file with the columns `path`, `emotion` and, optionally, `speaker`."""

import codecs
import csv
import io
import os
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from speech_emotion.audio.buckets import is_url
from speech_emotion.corpora.spelling import some, spelling

# Accepted column names, in any case; speaker is optional.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path"),
    "emotion": ("emotion", "label"),
    "speaker": ("speaker", "speaker_id"),
}
DELIMITERS = ",;\t"  # spreadsheets write semicolons in much of Europe, and tabs as text


class LabelsError(ValueError):
    """The table of labels cannot be used; the message is one sentence that names the file."""


def read_labels(file: str | Path, must_exist: bool = True) -> pd.DataFrame:
    """One row per recording: clip (the path as written), path, emotion, and speaker if the file has it.

    Paths are absolute, relative to the CSV file, or urls; backslashes may stand for slashes. Labels are any words,
    compared in Unicode's composed form and without case. Identical rows count once. Raises LabelsError if the file is
    not a CSV table in UTF-8 or UTF-16, is empty, lacks a column or a value, names recordings that do not exist (if
    `must_exist`), or gives one recording two emotions or speakers.
    """
    file = Path(file)
    rows = _rows(file)
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
    return clips


def missing(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips that do not exist on this machine; urls are not checked."""
    return clips[[not is_url(path) and not os.path.isfile(path) for path in clips["path"]]]


def absence(absent: pd.DataFrame, n: int, file: str | Path) -> str:
    """A sentence about missing recordings among the `n` in `file`."""
    do = "does" if len(absent) == 1 else "do"
    return f"{len(absent)} of {n} recordings in {file} {do} not exist: {some(absent['clip'])}"


def check_trainable(clips: pd.DataFrame) -> None:
    """Raises LabelsError if there is only one label, or a label with a single recording, which cannot be held out."""
    counts = clips["emotion"].value_counts()
    if len(counts) < 2:
        raise LabelsError(f"every recording is labelled {counts.index[0]}: training needs at least two emotions")
    if len(single := sorted(counts.index[counts == 1])):
        names = ", ".join(single)
        raise LabelsError(f"training needs at least two recordings of each emotion; there is only one of {names}")


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows of the file, with the keys of COLUMNS."""
    try:
        content = file.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
        delimiter = max(DELIMITERS, key=lambda delimiter: len(_known(_header(text, delimiter))))
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, strict=True, skipinitialspace=True, delimiter=delimiter)
        known = _known(reader.fieldnames or [])
        rows = [_checked(row, known, f"line {reader.line_num} of {file}") for row in reader]
    except OSError as error:
        raise LabelsError(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{file} is not a CSV table in UTF-8 or UTF-16; save it as CSV UTF-8") from error
    if not reader.fieldnames:
        raise LabelsError(f"{file} is empty")
    if not {"path", "emotion"} <= known.keys():
        found = ", ".join(reader.fieldnames)
        raise LabelsError(f"{file} has the columns {found}: path and emotion are required, speaker is optional")
    if not rows:
        raise LabelsError(f"{file} has no recordings below its first line")
    return rows


def _header(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=delimiter), [])


def _known(header: list[str]) -> dict[str, str]:
    """The name in the header of each of COLUMNS that it has."""
    by_name = {name.strip().lower(): name for name in reversed(header)}
    found = {column: [by_name[name] for name in names if name in by_name] for column, names in COLUMNS.items()}
    return {column: names[0] for column, names in found.items() if names}


def _checked(row: dict, known: dict[str, str], where: str) -> dict[str, str]:
    if None in row or None in row.values():
        raise LabelsError(f"{where} does not have one value per column; a path that contains a comma needs quotes")
    values = {column: normalize("NFC", row[name].strip()) for column, name in known.items() if column != "path"}
    if "path" in known:
        values["path"] = row[known["path"]]  # unchanged, because file systems distinguish Unicode forms
    if empty := [column for column, value in values.items() if not value]:
        raise LabelsError(f"{where} has no {empty[0]}")
    return values


def _located(path: str, folder: Path) -> str:
    if is_url(path):
        return path
    found, with_slashes = (os.path.normpath(folder / name) for name in (path, path.replace("\\", "/")))
    return with_slashes if not os.path.lexists(found) and os.path.isfile(with_slashes) else found
