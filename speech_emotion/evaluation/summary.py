"""What a finished table says: how many recordings have which emotion, and how many of the known ones are right."""

from collections import Counter
from pathlib import Path

from speech_emotion.evaluation.truth import Judged, RavdessNames
from speech_emotion.inference.formats import is_track
from speech_emotion.inference.rows import error_sentence
from speech_emotion.inference.table import read_table

ERRORS_SHOWN = 10
CONFIDENCE_BINS = 20


class Summary:
    """Counts over the rows of the table at `path`; `str` is what eval.py prints.

    `n_others` files lay beside the recordings and are no recordings. What is true comes from `judged`, which gets the
    rows here, else from RAVDESS names.
    """

    def __init__(self, path: str | Path, labels: list[str], n_others: int = 0, judged: Judged | None = None):
        self.path, self.labels, self.n_others = path, labels, n_others
        self.n_failed = 0
        self.errors: list[str] = []  # the first of them
        self.counts: Counter[str] = Counter()
        self.confidences: Counter[str] = Counter()  # their sums
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}
        self.judged = Judged(RavdessNames(), labels) if judged is None else judged
        for row in read_table(path):
            self._count(row)
            self.judged.add(row)

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
        return "\n".join([*lines, *self.judged.lines()])

    def draw(self, picture: str | Path, timeline: str | Path | None = None) -> None:
        """One recording with its timeline over time, else how often each emotion and confidence was given."""
        from speech_emotion.evaluation import plots

        plots.use_style()
        if timeline and not is_track(timeline) and self.n_failed == 0 and self.counts.total() == 1:
            figure = plots.Figure(figsize=(8, 3.6), layout="constrained")
            ax = figure.subplots()
            mesh = plots.plot_timeline(list(read_table(timeline)), self.labels, ax)
            ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
            figure.colorbar(mesh, label="probability")
        else:
            figure = plots.plot_folder(self.bins, self.n_failed, self.judged)
        plots.save_picture(figure, picture)
