"""The user's own corpus: a CSV file with the columns `path`, `emotion` and, optionally, `speaker`."""

import codecs
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from speech_emotion.audio.files import is_url
from speech_emotion.terminal import some

if TYPE_CHECKING:  # slow to import, and not needed for spelling
    import pandas as pd

Columns = dict[str, tuple[str, ...]]  # of a table, each with the names that it may have, in any case

COLUMNS: Columns = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "url", "audio"),
    "emotion": ("emotion", "emotions", "label", "labels"),
    "speaker": ("speaker", "speaker_id"),  # optional
}
_DELIMITERS = ",;\t"  # spreadsheets write semicolons in much of Europe, and tabs as text
_LARGEST = 2**26  # bytes; 400 000 recordings with nine probabilities have about as many

# Other forms of RAVDESS's emotions.
_FORMS = {
    "neutral": ("neutrality", "neu"),
    "calm": ("calmness",),
    "happy": ("happiness", "joy", "joyful", "hap"),
    "sad": ("sadness", "sorrow"),
    "angry": ("anger", "ang"),
    "fearful": ("fear", "afraid", "scared", "fea"),
    "disgust": ("disgusted", "dis"),
    "surprised": ("surprise", "sur"),
}
_EMOTION_OF = {form: emotion for emotion, forms in _FORMS.items() for form in forms}


class AnnotationError(ValueError):
    """A file of labels or segments cannot be used; the message is one sentence that names it."""


def read_labels(file: str | Path, must_exist: bool = True) -> "pd.DataFrame":
    """One row per recording: clip (the path as written), path, emotion, and speaker if the file has it.

    Paths are absolute, relative to the CSV file or else to the current folder, or urls; backslashes may stand for
    slashes. Labels are any words, compared in Unicode's composed form and without case. Rows without an emotion are
    left out; their number is `attrs["n_without_emotion"]`. Other columns are ignored, so out.csv is a table of labels.
    Identical rows count once. Raises AnnotationError if the file is not a CSV table in UTF-8 or UTF-16, is empty or too
    large, lacks a column or a value, names recordings that do not exist (if `must_exist`), or gives one recording two
    emotions or speakers.
    """
    import pandas as pd

    file, rows, n_without_emotion = Path(file), [], 0
    for number, values in read_csv(file, COLUMNS, ("path", "emotion")):
        path = values["path"]
        values = {column: normalize("NFC", value.strip()) for column, value in values.items()}
        if not values["emotion"]:
            n_without_emotion += any(values.values())  # spreadsheets also write rows of nothing but commas
            continue
        if empty := [column for column, value in values.items() if not value]:
            raise AnnotationError(f"line {number} of {file} has no {empty[0]}")
        rows.append(values | {"path": path})  # unchanged, because file systems distinguish Unicode forms
    if not rows:
        what = "emotions" if n_without_emotion else "recordings"
        raise AnnotationError(f"{file} has no {what} below its first line")
    clips = pd.DataFrame(rows)[[column for column in COLUMNS if column in rows[0]]]
    clips.insert(0, "clip", clips["path"])
    clips["path"] = [_located(path, file.parent) for path in clips["path"]]
    clips["emotion"] = clips["emotion"].map(spelling(clips["emotion"].unique(), forms={}))
    clips = clips.drop_duplicates(clips.columns[1:], ignore_index=True)
    if len(twice := clips[clips["path"].duplicated(keep=False)]):
        same = twice[twice["path"] == twice["path"].iloc[0]]
        column = "emotions" if same["emotion"].nunique() > 1 else "speakers"
        values = " and ".join(same[column[:-1]].unique())
        raise AnnotationError(f"{file} gives {same['clip'].iloc[0]} several {column}: {values}")
    if must_exist and len(absent := missing(clips)):
        raise AnnotationError(absence(absent, len(clips), file))
    clips.attrs["n_without_emotion"] = n_without_emotion
    return clips


def missing(clips: "pd.DataFrame") -> "pd.DataFrame":
    """The clips that do not exist on this machine; urls are not checked."""
    return clips[[not is_url(path) and not os.path.isfile(path) for path in clips["path"]]]


def absence(absent: "pd.DataFrame", n: int, file: str | Path) -> str:
    """A sentence about missing recordings among the `n` in `file`."""
    do = "does" if len(absent) == 1 else "do"
    where = "beside it or in the current folder"
    return f"{len(absent)} of {n} recordings in {file} {do} not exist {where}: {some(absent['clip'])}"


def check_trainable(clips: "pd.DataFrame") -> None:
    """Raises AnnotationError for a single label, or a label with a single recording, which cannot be held out."""
    counts = clips["emotion"].value_counts()
    if len(counts) < 2:
        raise AnnotationError(f"every recording is labelled {counts.index[0]}: training needs at least two emotions")
    if len(single := sorted(counts.index[counts == 1])):
        names = ", ".join(single)
        raise AnnotationError(f"training needs at least two recordings of each emotion; there is only one of {names}")


def has_speakers(clips: "pd.DataFrame | dict") -> bool:
    """Whether at least two speakers are known."""
    return "speaker" in clips and len({*clips["speaker"]}) > 1


def spelling(labels: Iterable[str], forms: dict[str, str] = _EMOTION_OF) -> Callable[[str], str]:
    """A function that maps a label to its spelling in `labels`: the same except for case, else another of its `forms`.

    >>> spelling(["happy", "sad"])("Happiness")
    'happy'
    """
    exact, usual = {}, {}
    for label in labels:
        folded = label.casefold()
        exact.setdefault(folded, label)
        usual.setdefault(forms.get(folded, folded), label)

    def spelled(label: str) -> str:
        folded = label.casefold()
        return exact.get(folded) or usual.get(forms.get(folded, folded), label)

    return spelled


def read_text(file: Path) -> str:
    """A text in UTF-8 or UTF-16. Raises AnnotationError if it is something else, too large, or cannot be read."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise AnnotationError(f"{file} has more than {_LARGEST // 2**20} MB, which is too much")
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file} is not in UTF-8 or UTF-16; save it as UTF-8, in Excel as CSV UTF-8") from error


def read_csv(file: Path, columns: Columns, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with a header, each with its number in the file and its values of `columns`.

    It is separated by commas, semicolons or tabs, or by the character that a first line `sep=` names for Excel. Raises
    AnnotationError if it is no such table, lacks a required column, or has a row with more values than columns.
    """
    lines = io.StringIO(read_text(file), newline="")
    header = lines.readline()
    declared = re.fullmatch(r"sep=(.)\s*", header, re.IGNORECASE)
    if declared:
        header = lines.readline()
    delimiter = declared[1] if declared else max(_DELIMITERS, key=header.count)
    reader = csv.DictReader(chain([header], lines), strict=True, skipinitialspace=True, delimiter=delimiter)
    try:
        rows = [(reader.line_num + bool(declared), row) for row in reader]
    except csv.Error as error:
        raise AnnotationError(f"{file} is not a CSV table: {error}") from error
    if not reader.fieldnames:
        raise AnnotationError(f"{file} is empty")
    by_name = {name.strip().lower(): name for name in reversed(reader.fieldnames)}
    names = {
        column: next(by_name[name] for name in accepted if name in by_name)
        for column, accepted in columns.items()
        if by_name.keys() & {*accepted}
    }
    if not {*required} <= names.keys():
        optional = [column for column in columns if column not in required]
        raise AnnotationError(
            f"{file} has the columns {', '.join(reader.fieldnames)}: {' and '.join(required)} are required, "
            f"{' and '.join(optional)} {'is' if len(optional) == 1 else 'are'} optional"
        )
    for number, row in rows:
        if any(value.strip() for value in row.pop(None, [])):
            remedy = "a value that contains a comma needs quotes"
            raise AnnotationError(f"line {number} of {file} does not have one value per column; {remedy}")
        yield number, {column: row[name] or "" for column, name in names.items()}


def _located(path: str, folder: Path) -> str:
    """Where a recording is: the first of these that exists, else beside the table."""
    if is_url(path):
        return path
    spellings = path, path.replace("\\", "/"), path.removeprefix("'")  # which keeps spreadsheets from computing it
    places = [os.path.normpath(parent / name) for parent in (folder, Path()) for name in spellings]
    return next(filter(os.path.isfile, places), places[0])
