"""What a finished table says: how many recordings have which emotion, and how many of the known ones are right."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.evaluation.truth import Judged, RavdessNames
from speech_emotion.inference.rows import error_sentence
from speech_emotion.inference.table import read_table

ERRORS_SHOWN = 10
CONFIDENCE_BINS = 20


class Summary:
    """Counts over the rows of the table at `path`; `str` is what eval.py prints.

    `n_others` files lay beside the recordings and are no recordings; `notes` are lines to add. What is true comes from
    `judged`, which gets the rows here, else from RAVDESS names.
    """

    def __init__(
        self,
        path: str | Path,
        labels: list[str],
        n_others: int = 0,
        judged: Judged | None = None,
        notes: Iterable[str] = (),
    ):
        self.path, self.labels, self.n_others, self.notes = path, labels, n_others, list(notes)
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
        lines += [f"  {note}" for note in self.notes]
        if self.n_others:
            lines.append(f"  {self.n_others} other files in the folders were left alone")
        for label, count in self.counts.most_common():
            lines.append(f"  {label:<10} {count:5d}   mean confidence {self.confidences[label] / count:.2f}")
        lines += [f"  {error}" for error in self.errors]
        if self.n_failed > len(self.errors):
            lines.append(f"  and {self.n_failed - len(self.errors)} more, see the column `error`")
        return "\n".join([*lines, *self.judged.lines()])

    def draw(self, picture: str | Path, stretches: list[dict] = ()) -> None:
        """The `stretches` of one recording over its time, else how often each emotion and confidence was given."""
        from speech_emotion.evaluation import plots

        plots.use_style()
        if stretches:
            figure = plots.plot_recording(stretches, self.labels)
        else:
            figure = plots.plot_folder(self.bins, self.n_failed, self.judged)
        plots.save_picture(figure, picture)


class FileNotes:
    """What the files of a run are like, beyond what is said of them: counted while they are read."""

    def __init__(self):
        self.n_damaged = self.n_with_tracks = self.n_with_channels = 0

    def add(self, info: RecordingInfo) -> None:
        self.n_damaged += info.is_damaged
        self.n_with_tracks += info.n_tracks > 1
        self.n_with_channels += info.channels_differ

    def lines(self, channels: str, track: int | None) -> list[str]:
        """For a terminal, given the options of the run; none where there is nothing to note."""
        lines = []
        if self.n_damaged:
            lines.append(f"{_recordings(self.n_damaged)} damaged; only the part that could be read was used")
        if self.n_with_tracks and track is None:
            lines.append(
                f"{_recordings(self.n_with_tracks, 'has', 'have')} several audio tracks; --track N chooses one"
            )
        if self.n_with_channels and channels == "mix":
            has = _recordings(self.n_with_channels, "has", "have")
            lines.append(f"{has} different sound in each channel; --channels each classifies them separately")
        return lines


def _recordings(n: int, one: str = "is", several: str = "are") -> str:
    return f"1 recording {one}" if n == 1 else f"{n} recordings {several}"
