"""What the page shows: the HTML of each answer, with its picture, and the lines of its table."""

import base64
import csv
import io
import threading
from collections.abc import Generator
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure

from speech_emotion.evaluation.envelope import load_envelope, plot_envelope
from speech_emotion.evaluation.plots import ORANGE, plot_timeline
from speech_emotion.inference.rows import FIXED, cell, columns
from speech_emotion.serving.answers import Answer
from speech_emotion.serving.headline import headline
from speech_emotion.serving.limits import Limits

_WHAT_FOR = {
    "model_any_voice.pt": "any voice (recommended)",
    "model.pt": "RAVDESS, eight emotions",
    "model_sad_removed.pt": "RAVDESS, without sad",
}
_drawing = threading.Lock()  # matplotlib draws one picture at a time


def fill_page(page: Template, models: dict, limits: Limits, token: str | None) -> str:
    """`models` are the predictors by name, the first the one that is ticked."""
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
        token="" if token else " hidden",
    )


def _described(name: str) -> str:
    of_file = f"<code>{escape(name)}</code>"
    return f"{_WHAT_FOR[name]} {of_file}" if name in _WHAT_FOR else of_file


def render(path: Path, answer: Answer) -> Generator[None, None, str]:
    """The HTML of one answer, with pauses; nothing of a client or a checkpoint gets into it unescaped."""
    row = answer.row
    if row["error"]:
        return f'<p class="error">{escape(row["url"])}: {escape(row["error"])}</p>'
    labels = [column for column in row if column not in FIXED]
    bars = "".join(
        f"""<li{" class=first" if label == row["emotion"] else ""}>
            <span>{escape(label)}</span>
            <progress value="{row[label]}" aria-label="{escape(label)}"></progress>
            <span class="number">{row[label]:.0%}</span>
        </li>"""
        for label in labels
    )
    envelope = yield from load_envelope(path)
    picture = base64.b64encode(draw(envelope, answer.stretches, labels)).decode()
    picture_of, caption = "Waveform", "Shaded: what was classified"
    if len(answer.stretches) > 1:
        picture_of += " above the emotions over time"
        caption = f"Darker: more probable; orange: the emotion given. Bars: the mean of {len(answer.stretches)} parts"
    return f"""<details open>
        <summary>{escape(row["url"])}: <b>{escape(headline(row, answer.stretches))}</b></summary>
        <div class="columns">
            <figure>
                <img alt="{picture_of}" src="data:image/png;base64,{picture}">
                <figcaption>{caption}</figcaption>
            </figure>
            <ul>{bars}</ul>
        </div>
    </details>"""


def draw(envelope: tuple[np.ndarray, float], stretches: list[dict], labels: list[str]) -> bytes:
    """The waveform as PNG, above the emotions over time when there is more than one stretch of speech."""
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


def write_lines(rows: list[dict], labels: list[str]) -> list[str]:
    """The header and, for each row, its line of out.csv, as eval.py writes them; a name may make it several lines."""
    names = columns(labels)
    lines = [names, *([cell(name, row[name]) for name in names] for row in rows)]
    return [_csv(line) for line in lines]


def _csv(cells: list[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()
