"""Predictions compared with true labels, from RAVDESS file names or from the user's table of labels.

pandas is imported only where it is needed, so that eval.py starts faster on recordings with RAVDESS names.
"""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from speech_emotion.audio.buckets import is_url
from speech_emotion.corpora.clips import has_speakers
from speech_emotion.corpora.ravdess import EMOTIONS, parse_name
from speech_emotion.corpora.spelling import SHOWN, some, spelling
from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, confusion, expected_calibration_error, uar
from speech_emotion.inference.rows import Row
from speech_emotion.terminal import count

if TYPE_CHECKING:
    import pandas as pd


class RavdessNames:
    """The true labels of recordings that are named as in RAVDESS."""

    source = "RAVDESS names"
    labels = EMOTIONS
    paths: tuple[str, ...] = ()
    absence = ""

    def of(self, url: str) -> tuple[str, str, str | None] | None:
        """An identifier of the recording, its emotion, and its speaker if known; None if its emotion is unknown."""
        try:
            name = parse_name(url)
        except ValueError:
            return None
        return Path(url).stem, name.emotion, str(name.actor)


class LabelTable:
    """The true labels from the user's table; all paths to the same file are the same recording."""

    def __init__(self, file: str | Path, must_exist: bool = False):
        """Raises LabelsError as read_labels does, and with `must_exist` if none of the recordings exists."""
        from speech_emotion.corpora.labels import LabelsError, absence, missing, read_labels

        clips = read_labels(file, must_exist=False)
        self.source = f"labels in {file}"
        self.absence = ""  # a sentence about recordings that do not exist
        if must_exist and len(absent := missing(clips)):
            self.absence = absence(absent, len(clips), file)
            if len(absent) == len(clips):
                raise LabelsError(self.absence)
            clips = clips.drop(absent.index)
        self.paths = clips["path"].tolist()
        self.labels = clips["emotion"].unique().tolist()
        speakers = clips["speaker"] if "speaker" in clips else [None] * len(clips)
        self._of = {
            _file(path): values for path, *values in zip(clips["path"], clips["emotion"], speakers, strict=True)
        }

    def of(self, url: str) -> tuple[str, str, str | None] | None:
        """As RavdessNames.of."""
        file = _file(url)
        return (file, *self._of[file]) if file in self._of else None


class Judged:
    """The rows with a known true emotion, and counts of those left out, by reason.

    `joins` such as `calm=neutral` map one label to another, in true labels and in predictions. Labels are matched
    without regard to case, and RAVDESS's emotions also in other usual forms, such as fear for fearful.
    """

    def __init__(self, truth: RavdessNames | LabelTable, labels: list[str], joins: Iterable[str] = ()):
        """Raises ValueError for an invalid join, and for a join of labels that neither the model nor the truth has."""
        known = [*labels, *map(spelling(labels), truth.labels)]
        self._spelled = spelling(known)
        self.source, self._truth, self._joined = truth.source, truth, _joined(joins, self._spelled)
        if nowhere := [label for label in self._joined if label not in known]:
            names = ", ".join(nowhere)
            raise ValueError(f"--map names {names}, found neither in the model nor among the {truth.source}")
        self._of_model = {label: self._join(label) for label in labels}
        self.labels = list(dict.fromkeys(self._of_model.values()))
        self.unknown: Counter[str] = Counter()  # labels that the model does not know
        self.n_failed = self.n_unlabelled = 0
        self._rows: list[tuple] = []

    def check(self, urls: list[str]) -> str | None:
        """A warning, with a remedy, if the model does not know the labels of most of these recordings.

        Raises ValueError if none of them has a label that the model knows.
        """
        counts = Counter(self._join(known[1]) for url in urls if (known := self._truth.of(url)))
        if not counts:
            raise ValueError(f"none of the recordings is among the {self.source}")
        unknown = {label: n for label, n in counts.most_common() if label not in self.labels}
        if len(unknown) == len(counts):
            raise ValueError(f"the model knows none of the {self.source} ({some(unknown)}); {self._remedy(unknown)}")
        if 2 * (n := sum(unknown.values())) <= counts.total():
            return None
        share = f"{n} of {count(counts.total(), 'recording')}"
        return f"warning: the model does not know the labels of {share} ({some(unknown)}); {self._remedy(unknown)}"

    def _remedy(self, unknown: Iterable[str]) -> str:
        """The --map option for the first unknown labels, with guesses where possible."""
        joins = []
        for label in islice(unknown, SHOWN):
            near = get_close_matches(self._spelled(label).casefold(), self.labels, 1)
            joins.append(shlex.quote(f"{label}={near[0] if near else 'LABEL'}"))
        which = f", where LABEL is one of {', '.join(self.labels)}" if any("LABEL" in join for join in joins) else ""
        return f"to count them, add --map {' '.join(joins)}{which}"

    def add(self, row: Row) -> None:
        """Add the row of a recording."""
        if (known := self._truth.of(row["url"])) is None:
            self.n_unlabelled += 1
        elif row["error"]:
            self.n_failed += 1
        elif (emotion := self._join(known[1])) not in self.labels:
            self.unknown[emotion] += 1
        else:
            prediction = self._join(row["emotion"])
            confidence = sum(row[label] for label, joint in self._of_model.items() if joint == prediction)
            self._rows.append((known[0], known[2], emotion, prediction, confidence))

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self) -> dict[str, tuple]:
        """The columns of a prediction table: clip, speaker, emotion, prediction, confidence."""
        names = ("clip", "speaker", "emotion", "prediction", "confidence")
        return dict(zip(names, zip(*self._rows, strict=True) if self._rows else [()] * len(names), strict=True))

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(self.columns())

    def lines(self) -> list[str]:
        """Lines for the terminal; empty if no true label is known."""
        lines = []
        if self._rows:
            have = f"{count(len(self), 'recording')} {'has' if len(self) == 1 else 'have'}"
            lines = ["", f"{have} {self.source}: {findings(self.columns(), self.labels)}"]
        if self.unknown:
            counts = some(f"{label} {n}" for label, n in self.unknown.most_common())
            lines.append(f"left out: {self.unknown.total()} with a label that the model does not know ({counts})")
        if self.n_failed:
            lines.append(f"left out: {self.n_failed} with an error")
        if lines and self.n_unlabelled:
            lines.append(f"left out: {self.n_unlabelled} not among the {self.source}")
        if self._truth.absence:
            lines.append(f"left out: {self._truth.absence}")
        if self._joined and not lines:
            lines.append("--map has no effect: the true emotion of these recordings is not known")
        return lines

    def _join(self, label: str) -> str:
        label = self._spelled(label)
        return self._joined.get(label, label)


def group_column(predictions: "pd.DataFrame | dict") -> str:
    """The column that bootstrap intervals are grouped by: speaker if there are several, else clip."""
    return "speaker" if has_speakers(predictions) else "clip"


def findings(predictions: "pd.DataFrame | dict", labels: list[str]) -> str:
    """The report as text: accuracy and UAR with intervals, calibration error, numbers per emotion, confusion matrix."""
    by = group_column(predictions)
    numbers = []
    for name, metric in (("accuracy", accuracy), ("UAR", uar)):
        low, high = bootstrap_interval(predictions, metric, by)
        numbers.append(f"{name} {metric(predictions):.4f} ({low:.4f} to {high:.4f})")
    true = {*predictions["emotion"]}
    present = [label for label in labels if label in true | {*predictions["prediction"]}]
    counts = confusion(predictions, present)
    width = max(map(len, present)) + 1
    return "\n".join(
        [
            ", ".join(numbers),
            f"(95 % intervals, by {by}); calibration error {expected_calibration_error(predictions):.4f}",
            f"UAR is the mean recall of {', '.join(label for label in present if label in true)}\n",
            " " * width + "  precision    recall  recordings",
            *(
                f"{label:<{width}}{_share(right, given):>11}{_share(right, n):>10}{n:>12}"
                for label, right, given, n in zip(
                    present, counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1), strict=True
                )
            ),
            "\nconfusion matrix (rows: true emotions, columns: predictions):",
            " " * width + "".join(f"{label:>{max(8, len(label) + 1)}}" for label in present),
            *(
                f"{label:<{width}}"
                + "".join(f"{count:{max(8, len(over) + 1)}d}" for over, count in zip(present, row, strict=True))
                for label, row in zip(present, counts, strict=True)
            ),
        ]
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _joined(joins: Iterable[str], spelled: Callable[[str], str]) -> dict[str, str]:
    """calm=neutral → {"calm": "neutral"}. Raises ValueError for an invalid or contradictory join."""
    joined: dict[str, str] = {}
    for join in joins:
        one, _, other = normalize("NFC", join).partition("=")
        if not one or not other:
            raise ValueError(f"{join} is not of the form LABEL=LABEL, which --map takes")
        one, other = spelled(one), spelled(other)
        if joined.setdefault(one, other) != other:
            raise ValueError(f"--map counts {one} both as {joined[one]} and as {other}")
    return joined


def _file(name: str) -> str:
    return name if is_url(name) else os.path.realpath(name)
