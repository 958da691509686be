"""The summary that eval.py prints: counts of emotions and errors, the accuracy if labels are known, notes on files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.evaluation.truth import Evaluation
from speech_emotion.inference.rows import Row, error_sentence, is_uncertain, rounded
from speech_emotion.terminal import count, printable

SHOWN = 10  # most rows that are listed one by one, and most errors in a longer table
CONFIDENCE_BINS = 20


class Summary:
    """Counts the rows of a table as they are written; `str` returns what eval.py prints."""

    def __init__(self, path: str | Path, labels: list[str], evaluation: Evaluation, files: "FileNotes"):
        """`path` is that of the table; rows are passed on to `evaluation`, the information about files to `files`."""
        self.path, self.evaluation, self.files = path, evaluation, files
        self.n_rows = self.n_failed = 0
        self.n_recordings = self.n_with_emotion = 0
        self.rows: list[str] = []  # the first SHOWN
        self.errors: list[str] = []  # the first SHOWN
        self.confidences: Counter[str] = Counter()  # sums by emotion
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}

    def add(self, rows: Sequence[Row], info: RecordingInfo | None = None) -> None:
        """Add the rows of one recording, one per channel; `info` is None for those kept from an earlier run."""
        for row in map(rounded, rows):
            self._count(row)
            self.evaluation.add(row)
        self.n_recordings += 1
        self.n_with_emotion += not all(row["error"] for row in rows)
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
        self.confidences[emotion] += confidence
        self.bins[emotion][min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1

    def __str__(self) -> str:
        classified = f"{count(self.n_with_emotion, 'recording')} classified"
        if n_without := self.n_recordings - self.n_with_emotion:
            classified += f", {n_without} without an emotion"
        lines = [f"{classified}; the table is in {self.path}", *(f"  {note}" for note in self.files.lines())]
        if self.n_rows <= SHOWN:
            lines += [f"  {row}" for row in self.rows]
        else:
            counts = Counter({label: sum(bins) for label, bins in self.bins.items() if any(bins)})
            for label, n in counts.most_common():
                lines.append(f"  {label:<10} {n:5d}   mean confidence {self.confidences[label] / n:.2f}")
            lines += [f"  {error}" for error in self.errors]
            if self.n_failed > len(self.errors):
                lines.append(f"  and {self.n_failed - len(self.errors)} more, see the column `error`")
        return "\n".join([*lines, *self.evaluation.lines()])


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
        self.n_with_tracks += info.n_tracks > 1 and self._track is None
        self.n_with_channels += info.channels_differ and self._channels == "mix"

    def lines(self) -> list[str]:
        """Lines for the terminal; empty if there is nothing to remark."""
        several, different = "several audio tracks; --track N chooses one", "different sound in each channel; "
        notes = [
            (self.n_damaged, "is/are", "damaged; only the part that could be read was used"),
            (self.n_with_tracks, "has/have", several),
            (self.n_with_channels, "has/have", f"{different}--channels each classifies them separately"),
        ]
        lines = [f"{count(n, 'recording', verb)} {note}" for n, verb, note in notes if n]
        if self.n_longer:
            lines.append(f"bytes after the end of {count(self.n_longer, 'recording')} were ignored")
        if self.n_others:
            were = "was" if self.n_others == 1 else "were"
            lines.append(f"{count(self.n_others, 'other file')} in the folders {were} ignored")
        return lines
