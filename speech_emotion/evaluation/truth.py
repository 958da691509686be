"""Predictions compared with true labels, from RAVDESS file names or from the user's table of labels.

pandas is imported only where it is needed, so that eval.py starts faster on recordings with RAVDESS names.
"""

import os
import shlex
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize

import numpy as np

from speech_emotion.audio.files import is_url
from speech_emotion.corpora.labels import has_speakers, spelling
from speech_emotion.corpora.ravdess import EMOTIONS, describe
from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    confusion,
    expected_calibration_error,
    uar,
    wilson_interval,
)
from speech_emotion.inference.formats import Row
from speech_emotion.terminal import SHOWN, count, some

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10  # clips of each emotion for an interval of UAR: a bootstrap of fewer does not know what it has not seen
COLUMNS = ("clip", "speaker", "emotion", "prediction", "confidence")  # of a table of predictions


class Truth(NamedTuple):
    """What is known about a recording."""

    clip: str  # identifies it
    emotion: str
    speaker: str | None


class RavdessNames:
    """The true labels of recordings that are named as in RAVDESS."""

    source = "RAVDESS names"
    labels = EMOTIONS
    paths: tuple[str, ...] = ()
    absence = ""
    n_without_emotion = 0

    def find(self, url: str) -> Truth | None:
        """What is known about a recording; None if its emotion is unknown."""
        clip = Path(url).stem
        name = describe(clip)
        return Truth(clip, name["emotion"], str(name["actor"])) if name else None


class LabelTable:
    """The true labels from the user's table; all paths to the same file are the same recording."""

    def __init__(self, file: str | Path, must_exist: bool = False):
        """Raises AnnotationError as read_labels does, and with `must_exist` if none of the recordings exists."""
        from speech_emotion.corpora.labels import AnnotationError, absence, missing, read_labels

        clips = read_labels(file, must_exist=False)
        self.source = f"labels in {file}"
        self.n_without_emotion = clips.attrs["n_without_emotion"]
        self.absence = ""  # a sentence about recordings that do not exist
        if must_exist and len(absent := missing(clips)):
            self.absence = absence(absent, len(clips), file)
            if len(absent) == len(clips):
                raise AnnotationError(self.absence)
            clips = clips.drop(absent.index)
        self.paths = clips["path"].tolist()
        self.labels = clips["emotion"].unique().tolist()
        speakers = clips["speaker"] if "speaker" in clips else [None] * len(clips)
        rows = map(Truth, map(_identity, self.paths), clips["emotion"], speakers)
        self._truths = {truth.clip: truth for truth in rows}

    def find(self, url: str) -> Truth | None:
        """As RavdessNames.find."""
        return self._truths.get(_identity(url))


def _identity(name: str) -> str:
    return name if is_url(name) else os.path.realpath(name)


class Evaluation:
    """The rows with a known true emotion, and counts of those left out, by reason.

    `joins` such as `calm=neutral` map one label to another, in true labels and in predictions. Labels are matched
    without regard to case, and RAVDESS's emotions also in other usual forms, such as fear for fearful.
    """

    def __init__(
        self,
        truth: RavdessNames | LabelTable,
        labels: list[str],
        joins: Iterable[str] = (),
        test_clips: Iterable[str] = (),
    ):
        """`test_clips` are those of RAVDESS that the model was not trained on; if there are none, nothing is known.

        Raises ValueError for an invalid join, and for a join of labels that neither the model nor the truth has.
        """
        self._test_clips = {*test_clips}
        occurring = [*labels, *map(spelling(labels), truth.labels)]
        self._spelled = spelling(occurring)
        self.source, self._truth, self._joins = truth.source, truth, {}
        for join in joins:
            label, _, target = normalize("NFC", join).partition("=")
            if not label or not target:
                raise ValueError(f"{join} is not of the form LABEL=LABEL, which --map takes")
            label, target = self._spelled(label), self._spelled(target)
            if self._joins.setdefault(label, target) != target:
                raise ValueError(f"--map counts {label} both as {self._joins[label]} and as {target}")
        if nowhere := [label for label in self._joins if label not in occurring]:
            names = ", ".join(nowhere)
            raise ValueError(f"--map names {names}, found neither in the model nor among the {truth.source}")
        self._joined = {label: self._join(label) for label in labels}
        self.labels = list(dict.fromkeys(self._joined.values()))
        self.unknown: Counter[str] = Counter()  # labels that the model does not know
        self.n_failed = self.n_unlabelled = 0
        self._rows: list[tuple] = []
        self._probabilities: list[list[float]] = []  # of `labels`, for each row

    def _join(self, label: str) -> str:
        label = self._spelled(label)
        return self._joins.get(label, label)

    def check(self, urls: list[str]) -> str | None:
        """A warning, with a remedy, if the model does not know the labels of most of these recordings.

        Raises ValueError if none of them has a label that the model knows.
        """
        counts = Counter(self._join(truth.emotion) for url in urls if (truth := self._truth.find(url)))
        if not counts:
            raise ValueError(f"none of the recordings is among the {self.source}")
        unknown = {label: n for label, n in counts.most_common() if label not in self.labels}
        joins = " ".join(shlex.quote(f"{label}=LABEL") for label in islice(unknown, SHOWN))
        remedy = f"to count them, add --map {joins}, where LABEL is one of {', '.join(self.labels)}"
        if len(unknown) == len(counts):
            raise ValueError(f"the model knows none of the {self.source} ({some(unknown)}); {remedy}")
        if 2 * (n := sum(unknown.values())) <= counts.total():
            return None
        share = f"{n} of {count(counts.total(), 'recording')}"
        return f"warning: the model does not know the labels of {share} ({some(unknown)}); {remedy}"

    def add(self, row: Row) -> None:
        """Add the row of a recording."""
        truth = self._truth.find(row["url"])
        if truth is None:
            self.n_unlabelled += 1
        elif row["error"]:
            self.n_failed += 1
        elif (emotion := self._join(truth.emotion)) not in self.labels:
            self.unknown[emotion] += 1
        else:
            probabilities = dict.fromkeys(self.labels, 0.0)
            for label, joined in self._joined.items():
                probabilities[joined] += row[label]
            prediction = self._join(row["emotion"])
            self._rows.append((truth.clip, truth.speaker, emotion, prediction, probabilities[prediction]))
            self._probabilities.append([*probabilities.values()])

    def __len__(self) -> int:
        return len(self._rows)

    def table(self) -> "pd.DataFrame":
        """The predictions, with COLUMNS, of test clips if there are any."""
        import pandas as pd

        return pd.DataFrame(self._rows_of(is_test=True) or self._rows, columns=COLUMNS)

    def _rows_of(self, is_test: bool) -> list[tuple]:
        """The rows of the test clips, or those of the clips that the model was trained on."""
        return [row for row in self._rows if self._test_clips and (row[0] in self._test_clips) is is_test]

    def lines(self) -> list[str]:
        """Lines for the terminal; empty if no true label is known."""
        lines = []
        if self._rows:
            test, trained_on = self._rows_of(is_test=True), self._rows_of(is_test=False)
            head = f"{count(len(self), 'recording', 'has/have')} {self.source}"
            if trained_on:
                head += f"; the model was trained on {len(trained_on)} of them"
                if test:
                    seen = _columns(trained_on)
                    head += f" (accuracy {accuracy(seen):.4f}, UAR {uar(seen):.4f})\n{len(test)} are its test clips"
            predictions = _columns(test or self._rows)
            lines = ["", f"{head}: {findings(predictions, self.labels)}", *self._with_emotions_of_table(predictions)]
        if self.unknown:
            counts = some(f"{label} {n}" for label, n in self.unknown.most_common())
            lines.append(f"left out: {self.unknown.total()} with a label that the model does not know ({counts})")
        if self.n_failed:
            lines.append(f"left out: {self.n_failed} with an error")
        if lines and self.n_unlabelled:
            lines.append(f"left out: {self.n_unlabelled} not among the {self.source}")
        if self._truth.n_without_emotion:
            lines.append(f"left out: {self._truth.n_without_emotion} without an emotion among the {self.source}")
        if self._truth.absence:
            lines.append(f"left out: {self._truth.absence}")
        if self._joins and not lines:
            lines.append("--map has no effect: the true emotion of these recordings is not known")
        return lines

    def _with_emotions_of_table(self, predictions: dict) -> list[str]:
        """A line on what --emotions would change, if the table has fewer emotions than the model."""
        emotions = [label for label in self.labels if label in predictions["emotion"]]
        if not self._truth.paths or not 2 <= len(emotions) < len(self.labels):
            return []
        from speech_emotion.models.network import choose_emotions

        chosen, counts_for = choose_emotions(self.labels, emotions)
        answers = (np.array(self._probabilities) @ counts_for.numpy()).argmax(axis=1)
        limited = uar(predictions | {"prediction": [chosen[answer] for answer in answers]})
        return [
            f"UAR {uar(predictions):.2f}; if only these could be answered: {limited:.2f}"
            f" (--emotions {' '.join(chosen)})"
        ]


def _columns(rows: list[tuple]) -> dict[str, tuple]:
    return dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))


def group_column(predictions: "pd.DataFrame | dict") -> str:
    """The column that bootstrap intervals are grouped by: speaker if there are several, else clip."""
    return "speaker" if has_speakers(predictions) else "clip"


def findings(predictions: "pd.DataFrame | dict", labels: list[str]) -> str:
    """The report as text: accuracy and UAR with intervals, calibration error, numbers per emotion, confusion matrix."""
    by = group_column(predictions)
    true = Counter(predictions["emotion"])
    low, high = wilson_interval(right := accuracy(predictions), true.total())
    if by == "speaker":  # of which there may be too few for a bootstrap, or who may all be alike
        ends = bootstrap_interval(predictions, accuracy, by)
        low, high = min(low, ends[0]), max(high, ends[1])
    numbers = [f"accuracy {right:.4f} ({low:.4f} to {high:.4f})", f"UAR {uar(predictions):.4f}"]
    if min(true.values()) >= FEWEST:
        low, high = bootstrap_interval(predictions, uar, by)
        numbers[1] += f" ({low:.4f} to {high:.4f})"
    present = [label for label in labels if label in {*true, *predictions["prediction"]}]
    counts = confusion(predictions, present)
    totals = zip(counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1), strict=True)
    shares = [(_share(right, predicted), _share(right, n), n) for right, predicted, n in totals]
    return "\n".join(
        [
            ", ".join(numbers),
            f"(95 % intervals, by {by}); calibration error {expected_calibration_error(predictions):.4f}",
            f"UAR is the mean recall of {', '.join(label for label in present if label in true)}\n",
            *_aligned(["precision", "recall", "recordings"], present, shares),
            "\nconfusion matrix (rows: true emotions, columns: predictions):",
            *_aligned(present, present, counts),
        ]
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _aligned(head: list[str], labels: list[str], rows: Iterable[Iterable]) -> list[str]:
    """The lines of a table with a label before each row."""
    first = max(map(len, labels)) + 1
    widths = [max(8, len(name) + 1) for name in head]

    def line(label: str, cells: Iterable) -> str:
        return f"{label:<{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    return [line("", head), *map(line, labels, rows)]
