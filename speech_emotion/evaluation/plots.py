"""The plots of the notebooks, the README, eval.py and train.py, in one style: colour-blind safe, legible in print.

Functions with an `ax` or `axes` argument draw on these if given, else on a new figure for the notebook.
"""

import warnings
from collections.abc import Collection
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from speech_emotion.evaluation.metrics import calibration_bins, confusion, label_columns, recalls, wilson_interval
from speech_emotion.evaluation.truth import Evaluation
from speech_emotion.outputs import replaced
from speech_emotion.terminal import clock

BLUE, ORANGE = "#0173b2", "#de8f05"  # the first two of seaborn's "colorblind"
GREY = "#262626"  # of text and axes
STYLE = {
    "figure.dpi": 110, "savefig.dpi": 150, "font.size": 12, "xtick.labelsize": 11, "ytick.labelsize": 11,
    "legend.fontsize": 11, "axes.labelsize": 12, "axes.titlesize": 12, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": GREY, "text.color": GREY,
    "xtick.color": GREY, "ytick.color": GREY,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, "#029e73", "#d55e00", "#cc78bc"]),
    "text.parse_math": False,  # a label between dollars is no formula
}  # fmt: skip

# Distinguishable with red-green colour blindness; emotions that are drawn side by side also differ in lightness.
COLOURS = {
    "neutral": "#666666",
    "calm": "#9adcff",
    "happy": "#dd9a00",
    "sad": "#0c5aa6",
    "angry": "#df5035",
    "fearful": "#4a0f5c",
    "disgust": "#45b08c",
    "surprised": "#f7ee7a",
}

OTHER_SCRIPTS = {"Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Devanagari", "Arial Unicode MS", "Yu Gothic"}
NO_EMOTION = "no emotion"  # label of the bar for recordings with an error
MOST_COLUMNS = 60  # of a timeline; narrower ones are a bar code
MOST_TICKS = 8
TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # between two ticks of a timeline
_FEWEST = 5  # clips in a bin of the reliability diagram; smaller bins are not drawn


def use_style() -> None:
    fonts = ["sans-serif", *sorted(OTHER_SCRIPTS & {*font_manager.get_font_names()})]
    plt.rcParams.update(STYLE | {"font.family": fonts})
    warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box is drawn instead


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write `figure` atomically, in the format that the extension of `path` names."""
    with replaced(path) as part:
        figure.savefig(part, format=Path(path).suffix[1:])


def plot_history(history: pd.DataFrame, axes: np.ndarray | None = None) -> Figure:
    """Learning curves: training and validation loss by epoch, and below it the accuracies."""
    if axes is None:
        _, axes = plt.subplots(2, 1, figsize=(5.6, 4.8), layout="constrained", sharex=True)
    for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for part, colour, style in (("training", BLUE, "--"), ("validation", ORANGE, "-")):
            ax.plot(history["epoch"], history[f"{part}_{measure}"], style, color=colour, label=part)
        ax.set(ylabel=measure)
    axes[0].legend(frameon=False)
    axes[1].set(xlabel="epoch")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    return axes[0].figure


def plot_confusion(predictions: pd.DataFrame, title="", ax: Axes | None = None, labels: list[str] = ()) -> Figure:
    """Confusion matrix: colours show shares of the true emotion, numbers show counts other than zero.

    It has a column for each label, and a row for each that occurs.
    """
    labels = labels or label_columns(predictions)
    counts = confusion(predictions, labels)
    rows = [label for label, n in zip(labels, counts.sum(axis=1), strict=True) if n]
    counts = counts[counts.any(axis=1)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    if ax is None:
        _, ax = plt.subplots(figsize=(5.8, 5.0), layout="constrained")
    mesh = ax.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(mesh, ax=ax, label="share of the true emotion")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else GREY
        ax.text(column + 0.5, row + 0.5, counts[row, column], ha="center", va="center", color=colour)
    ax.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.invert_yaxis()
    return ax.figure


def plot_recalls(tables: dict[str, pd.DataFrame], ax: Axes | None = None) -> Figure:
    """Bars of recall by emotion: in the colours of the emotions for one table, in a colour per table for two."""
    if ax is None:
        _, ax = plt.subplots(figsize=(5.6, 4.8), layout="constrained")
    labels = max((label_columns(table) for table in tables.values()), key=len)
    height = 0.84 / len(tables)
    for number, (name, table) in enumerate(tables.items()):
        places = np.arange(len(labels)) + (number - (len(tables) - 1) / 2) * height
        colours = [BLUE, ORANGE][number] if len(tables) > 1 else _colours(labels)
        bars = ax.barh(places, recalls(table).reindex(labels), height, color=colours, label=name)
        ax.bar_label(bars, fmt="%.2f", padding=3, fontsize="small")
    ax.set(xlim=(0, 1.1), xlabel="recall", xticks=np.linspace(0, 1, 6), yticks=range(len(labels)), yticklabels=labels)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    if len(tables) > 1:
        ax.legend(frameon=False, ncols=len(tables), loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax.figure


def plot_reliability(tables: dict[str, pd.DataFrame], ax: Axes | None = None) -> Figure:
    """Accuracy over confidence, with 95 % intervals; a calibrated model lies on the diagonal."""
    if ax is None:
        _, ax = plt.subplots(figsize=(4.8, 4.8), layout="constrained")
    ax.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    for (name, table), colour, marker in zip(tables.items(), (BLUE, ORANGE), "os", strict=False):
        bins = calibration_bins(table, n_bins=10)
        confidence, share, clips = bins[bins["clips"] >= _FEWEST].to_numpy().T
        low, high = wilson_interval(share, clips)
        reach = [share - low, high - share]
        ax.errorbar(confidence, share, reach, fmt=marker, color=colour, capsize=3, alpha=0.9, label=name)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal", ylabel="accuracy, 95 % interval")
    ax.set_xlabel(f"confidence (tenths with {_FEWEST} clips or more)")
    if len(tables) > 1:
        ax.legend(frameon=False, ncols=len(tables), loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax.figure


def plot_run(history: pd.DataFrame, predictions: pd.DataFrame, title: str) -> Figure:
    """A training run at a glance: learning curves, confusion matrix, recalls, reliability."""
    figure = Figure(figsize=(11.5, 9.5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    curves, recall = left.subfigures(2, 1)
    confusion, reliability = right.subfigures(2, 1)
    plot_history(history, curves.subplots(2, 1, sharex=True))
    plot_confusion(predictions, ax=confusion.subplots())
    plot_recalls({title: predictions}, recall.subplots())
    plot_reliability({title: predictions}, reliability.subplots())
    figure.suptitle(title)
    return figure


def plot_folder(confidences: dict[str, list[int]], n_failed: int, evaluation: Evaluation | None = None) -> Figure:
    """The results for a folder: the number of recordings by emotion, and a histogram of confidences.

    `confidences` are counts by emotion in equal bins from 0 to 1; `n_failed` is the number of recordings without an
    emotion. If true labels are known, `evaluation` adds a confusion matrix and a reliability diagram.
    """
    n_panels = 4 if evaluation else 2
    figure = Figure(figsize=(4.8 * n_panels, 4.6), layout="constrained")
    axes = figure.subplots(1, n_panels)
    totals = {label: sum(counts) for label, counts in confidences.items()}
    if n_failed:
        totals[NO_EMOTION] = n_failed
    bars = axes[0].barh(list(totals), list(totals.values()), color=_colours(totals))
    axes[0].bar_label(bars, padding=3)
    axes[0].margins(x=0.12)
    axes[0].set(xlabel="recordings", title="emotion")
    axes[0].tick_params(axis="y", length=0)
    axes[0].invert_yaxis()
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    below = 0
    for counts, colour in zip(reversed(confidences.values()), reversed(_colours(confidences)), strict=True):
        starts, width = np.linspace(0, 1, len(counts), endpoint=False), 1 / len(counts)
        axes[1].bar(starts, counts, width, below, align="edge", color=colour, edgecolor="white")
        below = below + np.array(counts)
    axes[1].yaxis.get_major_locator().set_params(integer=True)
    axes[1].set(xlim=(0, 1), xlabel="confidence", ylabel="recordings", title="confidence by emotion (same colours)")
    if evaluation:
        predictions = evaluation.table()
        plot_confusion(predictions, evaluation.source, axes[2], evaluation.labels)
        plot_reliability({evaluation.source: predictions}, axes[3])
    return figure


def plot_recording(stretches: list[dict], labels: list[str]) -> Figure:
    """The timeline of one recording, with one plot per channel."""
    channels = sorted({stretch.get("channel", 0) for stretch in stretches})
    figure = Figure(figsize=(8, 3.6 * len(channels)), layout="constrained")
    axes = figure.subplots(len(channels), sharex=True, squeeze=False)[:, 0]
    for channel, ax in zip(channels, axes, strict=True):
        own = [stretch for stretch in stretches if stretch.get("channel", 0) == channel]
        mesh = plot_timeline(own, labels, ax)
        ax.set(title=f"channel {channel}" if channel else "")
        ax.label_outer()
    axes[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    figure.colorbar(mesh, ax=axes, label="probability")
    return figure


def plot_timeline(stretches: list[dict], labels: list[str], ax: Axes) -> QuadMesh:
    """The probability of each emotion over time in one recording; a line marks the most probable one.

    `stretches` are rows of eval.py's timeline for one channel, at least one, with start, end (s) and a probability per
    label; the plot is blank between them. Of more than MOST_COLUMNS, the mean over equal parts of the recording is
    shown. Returns the coloured mesh, for a colour bar.
    """
    spans = np.array([(float(stretch["start"]), float(stretch["end"])) for stretch in stretches])
    end = spans.max()
    edges = np.unique(spans) if len(spans) <= MOST_COLUMNS else np.linspace(0, end, MOST_COLUMNS + 1)
    seconds = np.minimum(spans[:, 1:], edges[1:]) - np.maximum(spans[:, :1], edges[:-1])  # (stretches, columns)
    seconds = seconds.clip(min=0)
    total = seconds.sum(axis=0)[:, None]
    probabilities = np.array([[float(stretch[label]) for label in labels] for stretch in stretches])
    means = np.divide(seconds.T @ probabilities, total, out=np.full((len(total), len(labels)), np.nan), where=total > 0)
    mesh = ax.pcolormesh(edges, np.arange(len(labels) + 1) - 0.5, means.T, cmap="Blues", vmin=0, vmax=1)
    is_speech = total[:, 0] > 0
    given = means[is_speech].argmax(axis=1)
    ax.hlines(given, edges[:-1][is_speech], edges[1:][is_speech], color=ORANGE, linewidth=4, label="most probable")
    step = next((step for step in TICKS_S if end / step <= MOST_TICKS), TICKS_S[-1])
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(lambda seconds, position: clock(seconds))
    ax.set(xlim=(0, end), xlabel="time (m:ss)", yticks=range(len(labels)), yticklabels=labels)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    return mesh


def _colours(names: Collection[str]) -> list[str]:
    """The colours of RAVDESS's emotions, further colours for other labels, light grey for `no emotion`."""
    others = [name for name in names if name not in {*COLOURS, NO_EMOTION}]
    hues = map(to_hex, colormaps["hsv"](np.arange(len(others)) / max(len(others), 1) * 0.9))
    colours = COLOURS | dict(zip(others, hues, strict=True))
    return [colours.get(name, "lightgrey") for name in names]
