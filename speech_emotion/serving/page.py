"""Content of the page: the HTML of each answer, with its plot, and the lines of its table."""

import base64
import csv
import io
import threading
from collections.abc import Generator, Iterable
from itertools import zip_longest

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from speech_emotion.evaluation.plots import COLOURS, ORANGE, plot_timeline
from speech_emotion.inference.rows import FIXED
from speech_emotion.models.published import PUBLISHED
from speech_emotion.serving.answers import Answer, Outline
from speech_emotion.serving.envelope import plot_envelope
from speech_emotion.serving.headline import headline
from speech_emotion.serving.limits import Limits

_TEMPLATES = Environment(loader=PackageLoader("speech_emotion.serving"), autoescape=True)
_drawing = threading.Lock()  # matplotlib draws one picture at a time


def fill_page(models: dict, limits: Limits, token: str | None) -> str:
    """The page as HTML; `models` are the predictors by name, and the first is selected."""
    titles = {model.file: model.page_title for model in PUBLISHED}
    return fill("page.html", models=models, titles=titles, limits=limits, token=token, colours=COLOURS)


def fill(template: str, **values) -> str:
    """A file of templates/ with the values filled in, and their text escaped."""
    return _TEMPLATES.get_template(template).render(values)


def render(answer: Answer, outline: Outline) -> Generator[None, None, str]:
    """The HTML of one answer; yields after each row."""
    parts = []
    for row, envelope in zip_longest(answer.rows, outline.channels):
        stretches, labels = answer.stretches_of(row), [column for column in row if column not in FIXED]
        picture = b"" if row["error"] else draw((envelope, outline.duration_s), stretches, labels)
        values = {"row": row, "stretches": stretches, "labels": labels, "picture": base64.b64encode(picture).decode()}
        parts.append(fill("answer.html", headline=headline, **values))
        yield
    return "".join(parts)


def draw(envelope: tuple[np.ndarray, float], stretches: list[dict], labels: list[str]) -> bytes:
    """PNG of the waveform; if there are several stretches of speech, with the emotions over time below it."""
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
        plot_envelope(*envelope, ax)
        figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def write_csv(rows: Iterable[list[str]]) -> str:
    """Rows of cells as CSV, as in out.csv; a file name with line breaks makes a row several lines long."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
