"""The summary that eval.py prints: counts of emotions and errors, the accuracy if labels are known, notes on files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.evaluation.truth import Judged
from speech_emotion.inference.rows import Row, error_sentence, is_uncertain, rounded
from speech_emotion.terminal import count, printable

SHOWN = 10  # most rows that are listed one by one, and most errors in a longer table
CONFIDENCE_BINS = 20


class Summary:
    """Counts the rows of a table as they are written; `str` returns what eval.py prints."""

    def __init__(self, path: str | Path, labels: list[str], judged: Judged, files: "FileNotes"):
        """`path` is that of the table; rows are passed on to `judged`, and the information about files to `files`."""
        self.path, self.labels, self.judged, self.files = path, labels, judged, files
        self.n_rows = self.n_failed = 0
        self.n_recordings = self.n_heard = 0  # all, and those with an emotion
        self.rows: list[str] = []  # the first SHOWN
        self.errors: list[str] = []  # the first SHOWN
        self.counts: Counter[str] = Counter()
        self.confidences: Counter[str] = Counter()  # sums by emotion
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}

    def add(self, rows: Sequence[Row], info: RecordingInfo | None = None) -> None:
        """Add the rows of one recording, one per channel; `info` is None for those kept from an earlier run."""
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
        """Draw the timeline of one recording, if given its `stretches`, else histograms of emotions and confidences."""
        from speech_emotion.evaluation import plots

        plots.use_style()
        if stretches:
            figure = plots.plot_recording(stretches, self.labels)
        else:
            figure = plots.plot_folder(self.bins, self.n_failed, self.judged)
        plots.save_picture(figure, picture)


def answer_line(row: Row) -> str:
    """A row as a line for the terminal: emotion or error, confidence, and a mark if it is uncertain."""
    channel = f", channel {row['channel']}" if row.get("channel") else ""
    if row["error"]:
        return f"{'-':<10}       {printable(row['url'])}{channel}: {printable(row['error'])}"
    mark = "  (uncertain)" if is_uncertain(row) else ""
    return f"{row['emotion']:<10} {row['confidence']:.2f}  {printable(row['url'])}{channel}{mark}"


class FileNotes:
    """Counts files that need a remark: damaged, with several tracks or different channels, or not recordings."""

    def __init__(self, channels: str, track: int | None, n_others: int):
        """`channels` and `track` are the options of the run, `n_others` the number of files that are not recordings."""
        self._channels, self._track, self.n_others = channels, track, n_others
        self.n_damaged = self.n_longer = self.n_with_tracks = self.n_with_channels = 0

    def add(self, info: RecordingInfo) -> None:
        self.n_damaged += info.is_damaged
        self.n_longer += info.n_ignored > 0
        self.n_with_tracks += info.n_tracks > 1
        self.n_with_channels += info.channels_differ

    def lines(self) -> list[str]:
        """Lines for the terminal; empty if there is nothing to remark."""
        lines = []
        if self.n_damaged:
            lines.append(f"{_recordings(self.n_damaged)} damaged; only the part that could be read was used")
        if self.n_longer:
            lines.append(f"bytes after the end of {count(self.n_longer, 'recording')} were ignored")
        if self.n_with_tracks and self._track is None:
            lines.append(
                f"{_recordings(self.n_with_tracks, 'has', 'have')} several audio tracks; --track N chooses one"
            )
        if self.n_with_channels and self._channels == "mix":
            has = _recordings(self.n_with_channels, "has", "have")
            lines.append(f"{has} different sound in each channel; --channels each classifies them separately")
        if self.n_others:
            were = "was" if self.n_others == 1 else "were"
            lines.append(f"{count(self.n_others, 'other file')} in the folders {were} ignored")
        return lines


def _recordings(n: int, one: str = "is", several: str = "are") -> str:
    return f"1 recording {one}" if n == 1 else f"{n} recordings {several}"
