"""Content of the page: the HTML of each answer, with its plot, and the lines of its table."""

import base64
import csv
import io
import json
import threading
from collections.abc import Generator, Iterable
from html import escape
from itertools import zip_longest
from string import Template

import numpy as np
from matplotlib.figure import Figure

from speech_emotion.evaluation.plots import COLOURS, ORANGE, plot_timeline
from speech_emotion.published import PUBLISHED
from speech_emotion.serving.answers import Answer, Outline
from speech_emotion.serving.envelope import plot_envelope
from speech_emotion.serving.headline import headline
from speech_emotion.serving.limits import Limits
from speech_emotion.tables.rows import FIXED

_TITLES = {model.file: model.page_title for model in PUBLISHED}
_drawing = threading.Lock()  # matplotlib draws one picture at a time


def fill_page(page: Template, models: dict, limits: Limits, token: str | None) -> str:
    """The page as HTML; `models` are the predictors by name, and the first is selected."""
    choices = "".join(
        f'<label><input type="radio" name="model" value="{escape(name)}"'
        f"{'' if number else ' checked'}{' data-adapts' if predictor.network.takes_statistics else ''}>"
        f"{_described(name)}</label>"
        for number, (name, predictor) in enumerate(models.items())
    )
    return page.substitute(
        models=choices,
        megabytes=limits.recording_mb,
        minutes=limits.recording_minutes,
        colours=escape(json.dumps(COLOURS)),
        token="" if token else " hidden",
    )


def _described(name: str) -> str:
    of_file = f"<code>{escape(name)}</code>"
    return f"{_TITLES[name]} {of_file}" if name in _TITLES else of_file


def render(answer: Answer, outline: Outline) -> Generator[None, None, str]:
    """The HTML of one answer; yields after each row. All text from clients and checkpoints is escaped."""
    parts = []
    for row, envelope in zip_longest(answer.rows, outline.channels):
        name = f"{row['url']}, channel {row['channel']}" if row.get("channel") else row["url"]
        if row["error"]:
            parts.append(f'<p class="error">{escape(name)}: {escape(row["error"])}</p>')
        else:
            parts.append(_section(name, row, answer.stretches_of(row), (envelope, outline.duration_s)))
        yield
    return "".join(parts)


def _section(name: str, row: dict, stretches: list[dict], envelope: tuple[np.ndarray, float]) -> str:
    """The HTML of a row with an emotion."""
    labels = [column for column in row if column not in FIXED]
    bars = "".join(
        f"""<li{" class=first" if label == row["emotion"] else ""}>
            <span>{escape(label)}</span>
            <progress value="{row[label]}" aria-label="{escape(label)}"></progress>
            <span class="number">{row[label]:.0%}</span>
        </li>"""
        for label in labels
    )
    picture = base64.b64encode(draw(envelope, stretches, labels)).decode()
    picture_of, caption = "Waveform", "Shaded: the part that was classified"
    if len(stretches) > 1:
        picture_of += " above the emotions over time"
        caption = f"Darker: more probable; orange: the prediction. Bars: the mean of {len(stretches)} parts"
    return f"""<details open>
        <summary>{escape(name)}: <b>{escape(headline(row, stretches))}</b></summary>
        <div class="columns">
            <figure>
                <img alt="{picture_of}" src="data:image/png;base64,{picture}">
                <figcaption>{caption}</figcaption>
            </figure>
            <ul>{bars}</ul>
        </div>
    </details>"""


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
