"""Segments of a recording from a transcript, a diarisation or an annotation: times, text and speaker.

A new format is a function and an entry in FORMATS.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speech_emotion.corpora.labels import AnnotationError, read_csv, read_text
from speech_emotion.optional import needed_by
from speech_emotion.terminal import printable, some

MOST = 100_000  # segments; a day of speech has about 30 000
_SPEAKER = re.compile(r"\[([^\]]+)\]:\s*|<v(?:\.[^\s>]*)?\s+([^>]+)>")  # as whisperX and WebVTT write it
_TAG = re.compile(r"</?[^>]*>|\{\\[^}]*\}")


@dataclass(frozen=True)
class Segment:
    """A part of a recording that gets an answer of its own."""

    start: float  # seconds
    end: float
    text: str = ""
    speaker: str = ""


def read_segments(file: str | Path, recording: str | Path = "", tier: str = "") -> list[Segment]:
    """The segments in a file, in order of time.

    `recording` chooses among the recordings of an RTTM file, by its name without suffix, if there are several. `tier`
    names the tier of a TextGrid; it may be left out if there is only one with intervals. Raises AnnotationError for a
    file that cannot be read, has no segments, or has one that ends before it begins; ImportError, which says what to
    install, if a package is missing.
    """
    path = Path(file)
    if (suffix := path.suffix.lower()) not in FORMATS:
        raise AnnotationError(f"{path} is not a format of segments; these are {', '.join(FORMATS)}")
    options = {".rttm": {"recording": Path(recording).stem}, ".textgrid": {"tier": tier}}
    try:
        segments = sorted(FORMATS[suffix](path, **options.get(suffix, {})), key=lambda segment: segment.start)
        segments = [replace(segment, text=" ".join(segment.text.split())) for segment in segments]
    except (ImportError, AnnotationError):
        raise
    except Exception as error:  # damaged files can raise any exception in the libraries
        reason = printable(str(error).partition("\n")[0])
        raise AnnotationError(f"{path} is not a valid {path.suffix} file of segments: {reason}") from error
    if not segments:
        raise AnnotationError(f"{path} has no segments")
    if len(segments) > MOST:
        raise AnnotationError(f"{path} has {len(segments)} segments; at most {MOST} are read")
    for segment in segments:
        if not 0 <= segment.start < segment.end < math.inf:
            raise AnnotationError(f"{path} has a segment from {segment.start:g} to {segment.end:g} s")
    return segments


def subtitles(path: Path) -> Iterator[Segment]:
    """SubRip or WebVTT; the speaker is read from `[NAME]: ` as whisperX writes it, and from WebVTT's `<v NAME>`."""
    with needed_by("reading subtitles", "pysubs2"):
        from pysubs2 import SSAFile

    for event in SSAFile.from_string(read_text(path), keep_html_tags=True):
        content = event.text.replace(r"\N", "\n").partition("\n\n")[0]  # what follows a blank line is a WebVTT comment
        speaker = ""
        if match := _SPEAKER.match(content):
            speaker, content = match[1] or match[2], content[match.end() :]
        yield Segment(event.start / 1000, event.end / 1000, _TAG.sub("", content), speaker.strip())


def text_grid(path: Path, tier: str = "") -> list[Segment]:
    """The intervals with text of one tier of Praat's TextGrid."""
    with needed_by("reading a .TextGrid", "praatio"):
        from praatio.textgrid import IntervalTier, openTextgrid

    read_text(path)  # refuses what openTextgrid should not read
    grid = openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
    names = [name for name in grid.tierNames if isinstance(grid.getTier(name), IntervalTier)]
    listed = ", ".join(names) or "no tier of intervals"
    if tier not in names and (tier or len(names) != 1):
        raise AnnotationError(
            f"{path} has {'no tier ' + tier + ', but ' if tier else ''}{listed}; choose one with --tier"
        )
    return [Segment(start, end, label) for start, end, label in grid.getTier(tier or names[0]).entries]


def audacity_labels(path: Path) -> list[Segment]:
    """start, end and text, separated by tabs; the lines with frequencies, which begin with a backslash, are skipped."""
    rows = (line.split("\t", 2) for line in read_text(path).splitlines() if line.strip() and not line.startswith("\\"))
    return [Segment(float(start), float(end), *label) for start, end, *label in rows]


def rttm(path: Path, recording: str = "") -> list[Segment]:
    """NIST's Rich Transcription Time Marked: SPEAKER file channel start duration - - speaker."""
    rows = [line.split() for line in read_text(path).splitlines() if line.startswith("SPEAKER ")]
    files = {row[1] for row in rows}
    if len(files) > 1 and recording not in files:
        raise AnnotationError(f"{path} has no segments of {recording}, but of {some(sorted(files))}")
    return [
        Segment(float(row[3]), float(row[3]) + float(row[4]), speaker=row[7])
        for row in rows
        if len(files) == 1 or row[1] == recording
    ]


def csv_table(path: Path) -> list[Segment]:
    """A table with the columns start and end, in seconds, and optionally text and speaker."""
    columns = {name: (name,) for name in ("start", "end", "text", "speaker")}
    return [_segment(row) for _, row in read_csv(path, columns, ("start", "end"))]


def whisper_json(path: Path) -> list[Segment]:
    """The JSON of whisper and whisperX: a list of segments, or an object that holds it."""
    content = json.loads(read_text(path))
    return [_segment(row) for row in (content["segments"] if isinstance(content, dict) else content)]


def _segment(row: dict) -> Segment:
    text, speaker = (row.get(name) or "" for name in ("text", "speaker"))
    return Segment(float(row["start"]), float(row["end"]), text, speaker.strip())


FORMATS: dict[str, Callable[..., list[Segment] | Iterator[Segment]]] = {
    ".srt": subtitles,
    ".vtt": subtitles,
    ".textgrid": text_grid,
    ".txt": audacity_labels,
    ".rttm": rttm,
    ".csv": csv_table,
    ".json": whisper_json,
}
