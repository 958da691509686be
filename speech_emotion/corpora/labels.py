"""The user's own corpus: a CSV file with the columns `path` and `emotion`, and `speaker` where it is known."""

import csv
import os
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from speech_emotion.audio.buckets import is_url

COLUMNS = ("path", "emotion", "speaker")  # the last may be absent


class LabelsError(ValueError):
    """The table of labels cannot be used as it is; the message is one sentence that names the file."""


def read_labels(file: str | Path, must_exist: bool = True) -> pd.DataFrame:
    """One row per recording: clip (the path as it is written), path, emotion, and speaker where the file has it.

    Paths are absolute or relative to the CSV file, or urls; labels are any words, compared in Unicode's composed form.
    A recording that is listed twice in the same way counts once. Raises LabelsError when the file is not a CSV table in
    UTF-8, is empty, lacks a column or a value, names recordings that do not exist (unless not `must_exist`: all of
    them are named), or gives one recording two emotions or speakers.
    """
    file = Path(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
            columns = reader.fieldnames
            rows = [_checked(row, f"line {reader.line_num} of {file}") for row in reader]
    except OSError as error:
        raise LabelsError(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{file} is not a CSV table in UTF-8") from error
    if not columns:
        raise LabelsError(f"{file} is empty")
    if not {"path", "emotion"} <= {*columns}:
        found = ", ".join(columns)
        raise LabelsError(f"{file} has the columns {found}: it needs path and emotion, and may have speaker")
    if not rows:
        raise LabelsError(f"{file} has no recording below its first line")
    clips = pd.DataFrame(rows)[[column for column in COLUMNS if column in rows[0]]]
    clips.insert(0, "clip", clips["path"])
    clips["path"] = [path if is_url(path) else os.path.normpath(file.parent / path) for path in clips["path"]]
    clips = clips.drop_duplicates(clips.columns[1:], ignore_index=True)
    if len(twice := clips[clips["path"].duplicated(keep=False)]):
        same = twice[twice["path"] == twice["path"].iloc[0]]
        column = "emotions" if same["emotion"].nunique() > 1 else "speakers"
        values = " and ".join(same[column[:-1]].unique())
        raise LabelsError(f"{file} gives {same['clip'].iloc[0]} several {column}: {values}")
    if must_exist and len(missing := [row.clip for row in clips.itertuples() if not _may_exist(row.path)]):
        raise LabelsError(f"{len(missing)} of {len(clips)} recordings in {file} do not exist: {', '.join(missing)}")
    return clips


def check_trainable(clips: pd.DataFrame) -> None:
    """Raises LabelsError when there is nothing to tell apart, or a label whose only recording cannot be held out."""
    counts = clips["emotion"].value_counts()
    if len(counts) < 2:
        raise LabelsError(f"every recording is labelled {counts.index[0]}: training needs two emotions or more")
    if len(single := sorted(counts.index[counts == 1])):
        raise LabelsError(f"training needs two recordings or more of each emotion, there is one of {', '.join(single)}")


def _may_exist(path: str) -> bool:
    return is_url(path) or os.path.isfile(path)


def _checked(row: dict, where: str) -> dict[str, str]:
    if None in row or None in row.values():
        raise LabelsError(f"{where} has not as many values as there are columns; a path with a comma needs quotes")
    known = {column: normalize("NFC", row[column].strip()) for column in COLUMNS[1:] if column in row}
    if "path" in row:
        known["path"] = row["path"]  # as it is: file systems tell forms apart
    if empty := [column for column, value in known.items() if not value]:
        raise LabelsError(f"{where} has no {empty[0]}")
    return known
