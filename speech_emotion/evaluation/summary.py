"""What a finished table says: how many recordings have which emotion, and how many of the known ones are right."""

from collections import Counter
from pathlib import Path

from speech_emotion.corpora.ravdess import parse_name
from speech_emotion.inference.rows import error_sentence
from speech_emotion.inference.table import read_table

ERRORS_SHOWN = 10
CONFIDENCE_BINS = 20


class Summary:
    """Counts over the rows of the table at `path`; `str` is what eval.py prints.

    `n_others` files lay beside the recordings and are no recordings. `pairs` counts (true, predicted) emotions where
    a name says the true one, as RAVDESS names do.
    """

    def __init__(self, path: str | Path, labels: list[str], n_others: int = 0):
        self.path, self.labels, self.n_others = path, labels, n_others
        self.n_failed = 0
        self.errors: list[str] = []  # the first of them
        self.counts: Counter[str] = Counter()
        self.confidences: Counter[str] = Counter()  # their sums
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}
        self.pairs: Counter[tuple[str, str]] = Counter()
        for row in read_table(path):
            self._count(row)

    def _count(self, row: dict) -> None:
        if row["error"]:
            self.n_failed += 1
            if len(self.errors) < ERRORS_SHOWN:
                self.errors.append(error_sentence(row))
            return
        emotion, confidence = row["emotion"], float(row["confidence"])
        self.counts[emotion] += 1
        self.confidences[emotion] += confidence
        self.bins[emotion][min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1
        if (truth := _true_emotion(row["url"])) in self.labels:
            self.pairs[truth, emotion] += 1

    def __str__(self) -> str:
        n_recordings = self.counts.total() + self.n_failed
        lines = [f"{n_recordings} recordings, {self.n_failed} without an emotion; the table is in {self.path}"]
        if self.n_others:
            lines.append(f"  {self.n_others} other files in the folders were left alone")
        for label, count in self.counts.most_common():
            lines.append(f"  {label:<10} {count:5d}   mean confidence {self.confidences[label] / count:.2f}")
        lines += [f"  {error}" for error in self.errors]
        if self.n_failed > len(self.errors):
            lines.append(f"  and {self.n_failed - len(self.errors)} more, see the column `error`")
        return "\n".join([*lines, *self._truth()])

    def _truth(self) -> list[str]:
        """How many were right; nothing where no true emotion is known."""
        if not self.pairs:
            return []
        from sklearn.metrics import classification_report, confusion_matrix  # slow to import, and rarely needed

        truth, predicted = zip(*self.pairs.elements(), strict=True)
        present = [label for label in self.labels if label in {*truth, *predicted}]
        correct = sum(count for (a, b), count in self.pairs.items() if a == b)
        width = max(map(len, present)) + 1
        return [
            f"\n{len(truth)} recordings have RAVDESS names: accuracy {correct / len(truth):.4f}\n",
            classification_report(truth, predicted, labels=present, digits=3, zero_division=0),
            "confusion matrix, a row for each true emotion:",
            " " * width + "".join(f"{label[:7]:>8}" for label in present),
            *(
                f"{label:<{width}}" + "".join(f"{count:8d}" for count in row)
                for label, row in zip(present, confusion_matrix(truth, predicted, labels=present), strict=True)
            ),
        ]

    def draw(self, picture: str | Path, timeline: str | Path | None = None) -> None:
        """One recording with its timeline over time, else how often each emotion and confidence was given."""
        from speech_emotion.evaluation import plots

        plots.use_style()
        if timeline and self.n_failed == 0 and self.counts.total() == 1:
            figure = plots.Figure(figsize=(8, 3.6), layout="constrained")
            ax = figure.subplots()
            mesh = plots.plot_timeline(list(read_table(timeline)), self.labels, ax)
            ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
            figure.colorbar(mesh, label="probability")
        else:
            confusion = [[self.pairs[a, b] for b in self.labels] for a in self.labels] if self.pairs else None
            figure = plots.plot_folder(self.bins, self.n_failed, confusion)
        plots.save_picture(figure, picture)


def _true_emotion(url: str) -> str | None:
    """What a RAVDESS name says."""
    try:
        return parse_name(url).emotion
    except ValueError:
        return None
