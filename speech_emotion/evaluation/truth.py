"""What was predicted beside what is true, as the names of RAVDESS or the user's table of labels have it.

pandas and scikit-learn are imported where something is true: eval.py rarely needs them.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from speech_emotion.audio.buckets import is_url
from speech_emotion.corpora.ravdess import EMOTIONS, parse_name

if TYPE_CHECKING:
    import pandas as pd


class RavdessNames:
    """What is true of recordings that are named as in RAVDESS."""

    source = "RAVDESS names"
    labels = EMOTIONS
    paths: tuple[str, ...] = ()

    def of(self, url: str) -> tuple[str, str, str | None] | None:
        """What a recording is called, its emotion, its speaker if known; None where its emotion is not known."""
        try:
            name = parse_name(url)
        except ValueError:
            return None
        return Path(url).stem, name.emotion, str(name.actor)


class LabelTable:
    """What is true by the user's table; a recording is the same under every name that leads to the file."""

    def __init__(self, file: str | Path, must_exist: bool = False):
        """Raises LabelsError as read_labels does."""
        from speech_emotion.corpora.labels import read_labels

        clips = read_labels(file, must_exist)
        self.source = f"labels in {file}"
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
    """The rows of a model whose true emotion is known, and how many were left out, and why.

    `joins` such as `calm=neutral` say which labels count as which, in what is true and in what was predicted.
    """

    def __init__(self, truth: RavdessNames | LabelTable, labels: list[str], joins: Iterable[str] = ()):
        """Raises ValueError for what is no join, and for labels to join that are nowhere."""
        self.source, self._truth, self._joined = truth.source, truth, _joined(joins)
        if nowhere := [label for label in self._joined if label not in {*labels, *truth.labels}]:
            raise ValueError(f"--map joins {', '.join(nowhere)}, which neither the model nor the {truth.source} know")
        self._of_model = {label: self._join(label) for label in labels}
        self.labels = list(dict.fromkeys(self._of_model.values()))
        self.unknown: Counter[str] = Counter()  # labels that the model does not know
        self.n_failed = self.n_unlabelled = 0
        self._rows: list[tuple] = []

    def check(self, urls: list[str]) -> None:
        """Raises ValueError when none of these recordings could be judged."""
        emotions = {self._join(known[1]) for url in urls if (known := self._truth.of(url))}
        if not emotions:
            raise ValueError(f"none of the {len(urls)} recordings is among the {self.source}")
        if not emotions & {*self.labels}:
            raise ValueError(
                f"the model knows none of the {self.source} ({', '.join(sorted(emotions))}); --map joins labels"
            )

    def add(self, row: dict) -> None:
        """A row of out.csv."""
        if (known := self._truth.of(row["url"])) is None:
            self.n_unlabelled += 1
        elif row["error"]:
            self.n_failed += 1
        elif (emotion := self._join(known[1])) not in self.labels:
            self.unknown[emotion] += 1
        else:
            prediction = self._join(row["emotion"])
            confidence = sum(float(row[label]) for label, joint in self._of_model.items() if joint == prediction)
            self._rows.append((known[0], known[2], emotion, prediction, confidence))

    def __len__(self) -> int:
        return len(self._rows)

    def table(self) -> "pd.DataFrame":
        """A prediction table: clip, speaker, emotion, prediction, confidence."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=["clip", "speaker", "emotion", "prediction", "confidence"])

    def lines(self) -> list[str]:
        """For a terminal; none where nothing is known."""
        lines = []
        if self._rows:
            lines = ["", f"{len(self)} recordings have {self.source}: {findings(self.table(), self.labels)}"]
        if self.unknown:
            counts = ", ".join(f"{label} {count}" for label, count in self.unknown.most_common())
            lines.append(f"left out: {self.unknown.total()} with a label that the model does not know ({counts})")
        if self.n_failed:
            lines.append(f"left out: {self.n_failed} with an error")
        if lines and self.n_unlabelled:
            lines.append(f"left out: {self.n_unlabelled} not among the {self.source}")
        return lines

    def _join(self, label: str) -> str:
        return self._joined.get(label, label)


def group_column(predictions: "pd.DataFrame") -> str:
    """What belongs together when an interval is drawn: speaker where there are several, else clip."""
    from speech_emotion.corpora.splits import has_speakers

    return "speaker" if has_speakers(predictions) else "clip"


def findings(predictions: "pd.DataFrame", labels: list[str]) -> str:
    """Accuracy, UAR, their intervals, calibration error, a report and the confusion matrix, for a terminal."""
    from sklearn.metrics import classification_report, confusion_matrix

    from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, expected_calibration_error, uar

    by = group_column(predictions)
    numbers = []
    for name, metric in (("accuracy", accuracy), ("UAR", uar)):
        low, high = bootstrap_interval(predictions, metric, by)
        numbers.append(f"{name} {metric(predictions):.4f} ({low:.4f} to {high:.4f})")
    truth, predicted = predictions["emotion"], predictions["prediction"]
    present = [label for label in labels if label in {*truth, *predicted}]
    width = max(map(len, present)) + 1
    return "\n".join(
        [
            ", ".join(numbers),
            f"(95 % intervals, by {by}); calibration error {expected_calibration_error(predictions):.4f}\n",
            classification_report(truth, predicted, labels=present, digits=3, zero_division=0),
            "confusion matrix, a row for each true emotion:",
            " " * width + "".join(f"{label:>{max(8, len(label) + 1)}}" for label in present),
            *(
                f"{label:<{width}}"
                + "".join(f"{count:{max(8, len(over) + 1)}d}" for over, count in zip(present, row, strict=True))
                for label, row in zip(present, confusion_matrix(truth, predicted, labels=present), strict=True)
            ),
        ]
    )


def _joined(joins: Iterable[str]) -> dict[str, str]:
    """{"calm": "neutral"} of calm=neutral."""
    joined: dict[str, str] = {}
    for join in joins:
        one, _, other = normalize("NFC", join).partition("=")
        if not one or not other:
            raise ValueError(f"{join} is not LABEL=LABEL, which --map takes")
        if joined.setdefault(one, other) != other:
            raise ValueError(f"--map joins {one} with {joined[one]} and with {other}")
    return joined


def _file(name: str) -> str:
    return name if is_url(name) else os.path.realpath(name)
