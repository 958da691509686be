"""The summary that eval.py prints: counts of emotions and errors, the accuracy if labels are known, notes on files."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from speech_emotion.evaluation.truth import Evaluation
from speech_emotion.inference.formats import Row
from speech_emotion.inference.recording import Answer
from speech_emotion.inference.table import FIXED, error_sentence, is_uncertain, rounded
from speech_emotion.terminal import SHOWN, clock, count, printable

if TYPE_CHECKING:
    from speech_emotion.commands.classify import EvalOptions

CONFIDENCE_BINS = 20
LONG_S = 60  # a recording of this length is more than one emotion
PARTS = 3  # emotions and stretches that are named for a long recording


class Summary:
    """Counts the rows of a table as they are written; `str` returns what eval.py prints."""

    def __init__(self, labels: list[str], evaluation: Evaluation, options: "EvalOptions", n_others: int):
        """Rows are passed on to `evaluation`; `n_others` files in the folders are not recordings."""
        self.evaluation, self.options, self.n_others = evaluation, options, n_others
        self.n_rows = self.n_failed = 0
        self.n_recordings = self.n_with_emotion = 0
        self.stretches: list[Row] = []  # of the latest recording
        self.is_any_long = False
        self.lines: list[str] = []  # on the first SHOWN rows
        self.errors: list[str] = []  # the first SHOWN
        self.notes: Counter[tuple[str, str]] = Counter()  # recordings by what is remarkable about their files
        self.confidences: Counter[str] = Counter()  # sums by emotion
        self.bins = {label: [0] * CONFIDENCE_BINS for label in labels}

    def add(self, rows: Sequence[Row], answer: Answer | None = None) -> None:
        """Add the rows of one recording, one per channel; `answer` is None for those kept from an earlier run."""
        self.stretches, length_s = (answer.stretches, answer.length_s) if answer else ([], 0.0)
        self.is_any_long |= length_s >= LONG_S
        for row in map(rounded, rows):
            self.n_rows += 1
            if self.n_rows <= SHOWN:
                self.lines += row_lines(row, self.stretches, length_s)
            if row["error"]:
                self.n_failed += 1
                if len(self.errors) < SHOWN:
                    self.errors.append(error_sentence(row))
            else:
                self.confidences[row["emotion"]] += row["confidence"]
                place = min(int(row["confidence"] * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)
                self.bins[row["emotion"]][place] += 1
            self.evaluation.add(row)
        self.n_recordings += 1
        self.n_with_emotion += not all(row["error"] for row in rows)
        if answer:
            info = answer.info
            self.notes["is/are", "damaged; only the part that could be read was used"] += info.is_damaged
            self.notes["has/have", "several audio tracks; --track N chooses one"] += (
                info.n_tracks > 1 and self.options.track is None
            )
            self.notes["has/have", "different sound in each channel; --channels each classifies them separately"] += (
                info.channels_differ and self.options.channels == "mix"
            )
            self.notes["has/have", "bytes after the end, which were ignored"] += info.n_ignored > 0

    def __str__(self) -> str:
        classified = f"{count(self.n_with_emotion, 'recording')} classified"
        if n_without := self.n_recordings - self.n_with_emotion:
            classified += f", {n_without} without an emotion"
        lines = [f"{classified}; the table is in {self.options.out}"]
        lines += [f"  {count(n, 'recording', verb)} {note}" for (verb, note), n in self.notes.items() if n]
        if self.n_others:
            were = "was" if self.n_others == 1 else "were"
            lines.append(f"  {count(self.n_others, 'other file')} in the folders {were} ignored")
        if self.n_rows <= SHOWN:
            lines += [f"  {line}" for line in self.lines]
        else:
            counts = Counter({label: sum(bins) for label, bins in self.bins.items() if any(bins)})
            for label, n in counts.most_common():
                lines.append(f"  {label:<10} {n:5d}   mean confidence {self.confidences[label] / n:.2f}")
            lines += [f"  {error}" for error in self.errors]
            if self.n_failed > len(self.errors):
                lines.append(f"  and {self.n_failed - len(self.errors)} more, see the column `error`")
        if self.options.timeline:
            lines.append(f"the timeline is in {self.options.timeline}")
        elif self.is_any_long:
            lines.append("--timeline FILE writes the emotion of every stretch of speech")
        return "\n".join([*lines, *self.evaluation.lines()])


def row_lines(row: Row, stretches: list[Row], length_s: float) -> list[str]:
    """A row for the terminal: emotion or error, confidence, and a mark if it is uncertain.

    Of a long recording, the emotions with the highest means, and where the longest parts with one emotion are.
    """
    channel = row.get("channel")
    name = printable(row["url"]) + (f", channel {channel}" if channel else "")
    if row["error"]:
        return [f"{'-':<10}       {name}: {printable(row['error'])}"]
    mark = "  (uncertain)" if is_uncertain(row) else ""
    if length_s < LONG_S:
        return [f"{row['emotion']:<10} {row['confidence']:.2f}  {name}{mark}"]
    means = sorted(((row[label], label) for label in row if label not in FIXED), reverse=True)
    mix = ", ".join(f"{label} {mean:.2f}" for mean, label in means[:PARTS])
    own = [stretch for stretch in stretches if stretch.get("channel") == channel]
    parts = [(emotion, list(part)) for emotion, part in groupby(own, lambda stretch: stretch["emotion"]) if emotion]
    parts.sort(key=lambda part: sum(stretch["start"] - stretch["end"] for stretch in part[1]))
    longest = ", ".join(
        f"{emotion} {clock(part[0]['start'])} to {clock(part[-1]['end'])}" for emotion, part in parts[:PARTS]
    )
    return [
        f"{'mixed' if mark else row['emotion']:<10}       {name}, {clock(length_s)} long: {mix}",
        f"{'':<10}       longest parts: {longest}",
    ]
