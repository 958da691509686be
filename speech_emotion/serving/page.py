"""Content of the page: the HTML of each answer, with its plot and its heading, and the lines of its table."""

import base64
import csv
import io
import threading
from collections import Counter
from collections.abc import Iterable
from itertools import groupby, zip_longest

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from speech_emotion.evaluation.plots import BLUE, COLOURS, ORANGE, plot_timeline
from speech_emotion.inference.formats import Row
from speech_emotion.inference.table import FIXED, is_uncertain, recording_row
from speech_emotion.models.published import PUBLISHED
from speech_emotion.serving.answers import Outline, Reply
from speech_emotion.serving.service import Service

_TEMPLATES = Environment(loader=PackageLoader("speech_emotion.serving"), autoescape=True)
_MOST_PARTS = 3  # parts that a heading lists besides the prevailing emotion
_drawing = threading.Lock()  # matplotlib draws one picture at a time


def fill_page(service: Service) -> str:
    """The page as HTML, with the first model and the emotions that the server answers by default selected."""
    titles = {model.file: model.title for model in PUBLISHED}
    return fill("page.html", service=service, titles=titles, colours=COLOURS)


def fill(template: str, **values) -> str:
    """A file of templates/ with the values filled in, and their text escaped."""
    return _TEMPLATES.get_template(template).render(values)


def render(reply: Reply, outline: Outline) -> str:
    """The HTML of one reply."""
    parts = []
    for row, extremes in zip_longest(reply.rows, outline.channels):
        stretches, labels = reply.stretches_of(row), [column for column in row if column not in FIXED]
        picture = b"" if row["error"] else draw(extremes, outline.duration_s, stretches, labels)
        values = {"row": row, "stretches": stretches, "labels": labels, "picture": base64.b64encode(picture).decode()}
        parts.append(fill("answer.html", headline=headline, **values))
    return "".join(parts)


def draw(extremes: np.ndarray, duration_s: float, stretches: list[Row], labels: list[str]) -> bytes:
    """PNG of the waveform; if there are several stretches of speech, with the emotions over time below it.

    The waveform is given by the minimum and maximum of equal parts, (2, points).
    """
    is_long = len(stretches) > 1
    picture = io.BytesIO()
    with _drawing:
        figure = Figure(figsize=(5, 3.6 if is_long else 2), layout="constrained")
        if is_long:
            ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
            plot_timeline(stretches, labels, below)
            ax.axis("off")
        else:
            ax = figure.subplots()
            ax.axvspan(stretches[0]["start"], stretches[0]["end"], color=ORANGE, alpha=0.2)
        edges = np.linspace(0, duration_s, extremes.shape[1] + 1)
        ax.stairs(extremes[1], edges, baseline=extremes[0], fill=True, color=BLUE)
        ax.set(xlabel="time (s)", xlim=(0, duration_s), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.label_outer()
        figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def write_csv(rows: Iterable[list[str]]) -> str:
    """Rows of cells as CSV, as in out.csv; a file name with line breaks makes a row several lines long."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def headline(row: Row, stretches: list[Row]) -> str:
    """Emotion and confidence of a single stretch, or the parts of several, which their mean would hide.

    >>> headline(row, stretches)
    'mostly calm; angry from 0:12 to 0:21'
    """
    if len(stretches) == 1:
        return f"{row['emotion']}, {row['confidence']:.0%}{_mark(row)}"
    parts = [(emotion, list(part)) for emotion, part in groupby(stretches, lambda stretch: stretch["emotion"])]
    seconds = Counter()
    for stretch in stretches:
        seconds[stretch["emotion"]] += _seconds(stretch)
    main, longest = seconds.most_common(1)[0]
    if len(seconds) == 1:
        return f"{main} throughout{_mark(row)}"
    opening = "mixed: "
    if 2 * longest > seconds.total():
        opening = f"mostly {main}{_mark(_mean([stretch for stretch in stretches if stretch['emotion'] == main]))}; "
        parts = [(emotion, part) for emotion, part in parts if emotion != main]
    longest_first = sorted(parts, key=lambda part: -sum(map(_seconds, part[1])))
    named = sorted(longest_first[:_MOST_PARTS], key=lambda part: part[1][0]["start"])
    said = [
        f"{emotion} from {_clock(part[0]['start'])} to {_clock(part[-1]['end'])}{_mark(_mean(part))}"
        for emotion, part in named
    ]
    if n_others := len(parts) - len(named):
        said.append(f"{n_others} shorter part{'s' if n_others > 1 else ''}")
    return opening + "; ".join(said)


def _mark(row: Row) -> str:
    return " (uncertain)" if is_uncertain(row) else ""


def _mean(stretches: list[Row]) -> Row:
    labels = [column for column in stretches[0] if column not in FIXED]
    return recording_row("", labels, stretches, list(map(_seconds, stretches)))


def _seconds(stretch: Row) -> float:
    return stretch["end"] - stretch["start"]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
