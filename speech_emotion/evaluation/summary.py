"""What the rows of a run say: how many recordings have which emotion, and how many of the known ones are right."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.evaluation.truth import Judged
from speech_emotion.tables.rows import Row, error_sentence, is_uncertain, rounded
from speech_emotion.terminal import count, printable

SHOWN = 10  # rows, where there are no more, else errors
CONFIDENCE_BINS = 20


class Summary:
    """Counts over the rows of a table while they pass; `str` is what eval.py prints."""

    def __init__(self, path: str | Path, labels: list[str], judged: Judged, files: "FileNotes"):
        """`path` is the table's; `judged` gets the rows too, `files` what the recordings are like."""
        self.path, self.labels, self.judged, self.files = path, labels, judged, files
        self.n_rows = self.n_failed = 0
        self.n_recordings = self.n_heard = 0  # with a row, with an emotion in one
        self.rows: list[str] = []  # the first of them
        self.errors: list[str] = []  # the first of them
        self.counts: Counter[str] = Counter()
        self.confidences: Counter[str] = Counter()  # their sums
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}

    def add(self, rows: Sequence[Row], info: RecordingInfo | None = None) -> None:
        """Those of one recording: one, or one for each channel; a resumed run knows no more of those from before."""
        for row in map(rounded, rows):
            self._count(row)
            self.judged.add(row)
        self.n_recordings += 1
        self.n_heard += not all(row["error"] for row in rows)
        if info:
            self.files.add(info)

    def _count(self, row: Row) -> None:
        self.n_rows += 1
        if self.n_rows <= SHOWN:
            self.rows.append(answer_line(row))
        if row["error"]:
            self.n_failed += 1
            if len(self.errors) < SHOWN:
                self.errors.append(error_sentence(row))
            return
        emotion, confidence = row["emotion"], row["confidence"]
        self.counts[emotion] += 1
        self.confidences[emotion] += confidence
        self.bins[emotion][min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1

    def __str__(self) -> str:
        classified = f"{count(self.n_heard, 'recording')} classified"
        if n_failed := self.n_recordings - self.n_heard:
            classified += f", {n_failed} without an emotion"
        lines = [f"{classified}; the table is in {self.path}", *(f"  {note}" for note in self.files.lines())]
        if self.n_rows <= SHOWN:
            lines += [f"  {row}" for row in self.rows]
        else:
            for label, n in self.counts.most_common():
                lines.append(f"  {label:<10} {n:5d}   mean confidence {self.confidences[label] / n:.2f}")
            lines += [f"  {error}" for error in self.errors]
            if self.n_failed > len(self.errors):
                lines.append(f"  and {self.n_failed - len(self.errors)} more, see the column `error`")
        return "\n".join([*lines, *self.judged.lines()])

    def draw(self, picture: str | Path, stretches: Sequence[Row] = ()) -> None:
        """The `stretches` of one recording over its time, else how often each emotion and confidence was given."""
        from speech_emotion.evaluation import plots

        plots.use_style()
        if stretches:
            figure = plots.plot_recording(stretches, self.labels)
        else:
            figure = plots.plot_folder(self.bins, self.n_failed, self.judged)
        plots.save_picture(figure, picture)


def answer_line(row: Row) -> str:
    """For a terminal: what was said of a recording, or of one of its channels, and whether to rely on it."""
    channel = f", channel {row['channel']}" if row.get("channel") else ""
    if row["error"]:
        return f"{'-':<10}       {printable(row['url'])}{channel}: {printable(row['error'])}"
    mark = "  (uncertain)" if is_uncertain(row) else ""
    return f"{row['emotion']:<10} {row['confidence']:.2f}  {printable(row['url'])}{channel}{mark}"


class FileNotes:
    """What the files of a run are like, beyond what is said of them: counted while they are read."""

    def __init__(self, channels: str, track: int | None, n_others: int):
        """Given the options of the run, and how many files beside the recordings are no recordings."""
        self._channels, self._track, self.n_others = channels, track, n_others
        self.n_damaged = self.n_with_tracks = self.n_with_channels = 0

    def add(self, info: RecordingInfo) -> None:
        self.n_damaged += info.is_damaged
        self.n_with_tracks += info.n_tracks > 1
        self.n_with_channels += info.channels_differ

    def lines(self) -> list[str]:
        """For a terminal; none where there is nothing to note."""
        lines = []
        if self.n_damaged:
            lines.append(f"{_recordings(self.n_damaged)} damaged; only the part that could be read was used")
        if self.n_with_tracks and self._track is None:
            lines.append(
                f"{_recordings(self.n_with_tracks, 'has', 'have')} several audio tracks; --track N chooses one"
            )
        if self.n_with_channels and self._channels == "mix":
            has = _recordings(self.n_with_channels, "has", "have")
            lines.append(f"{has} different sound in each channel; --channels each classifies them separately")
        if self.n_others:
            were = "was" if self.n_others == 1 else "were"
            lines.append(f"{count(self.n_others, 'other file')} in the folders {were} left alone")
        return lines


def _recordings(n: int, one: str = "is", several: str = "are") -> str:
    return f"1 recording {one}" if n == 1 else f"{n} recordings {several}"
