"""The pictures of the notebook and the README, in one style: colour-blind safe and legible in print."""

import librosa.display
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix

from speech_emotion.evaluation import calibration_bins, label_columns, recalls
from speech_emotion.features import FeatureSettings

BLUE, ORANGE = sns.color_palette("colorblind")[:2]


def use_style() -> None:
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False})


def plot_waveform(waveform, settings: FeatureSettings, ax: Axes, window_start_s: float | None = None) -> None:
    """Samples over seconds, with the classified window shaded when its start is given."""
    librosa.display.waveshow(np.asarray(waveform), sr=settings.sample_rate, ax=ax, color=BLUE)
    if window_start_s is not None:
        ax.axvspan(window_start_s, window_start_s + settings.window_s, color=ORANGE, alpha=0.2)
    ax.set(xlabel="time (s)", ylabel="")
    ax.label_outer()


def plot_envelope(envelope: np.ndarray, duration_s: float, ax: Axes) -> None:
    """(2, points), the lowest and highest samples of equal parts of a recording, over its seconds."""
    edges = np.linspace(0, duration_s, envelope.shape[1] + 1)
    ax.stairs(envelope[1], edges, baseline=envelope[0], fill=True, color=BLUE)
    ax.set(xlabel="time (s)", xlim=(0, duration_s), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.label_outer()


def plot_timeline(windows: list[dict], labels: list[str], ax: Axes) -> None:
    """The probability of each label over time, dark where it is likely, from Predictor's rows of windows.

    Windows that overlap share what they have in common; between windows that nobody is heard in it stays blank.
    """
    spans = np.array([[window["start"], window["end"]] for window in windows])
    middles = (spans[:-1, 1] + spans[1:, 0]) / 2
    spans[:-1, 1] = np.minimum(spans[:-1, 1], middles)
    spans[1:, 0] = np.maximum(spans[1:, 0], middles)
    shares = np.full((len(labels), 2 * len(windows) - 1), np.nan)  # every other column lies between two windows
    shares[:, ::2] = np.array([[window[label] for label in labels] for window in windows]).T
    ax.pcolormesh(spans.ravel(), np.arange(len(labels) + 1), shares, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel="time (s)", yticks=np.arange(len(labels)) + 0.5, yticklabels=labels)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)


def plot_mfcc(mfcc, settings: FeatureSettings, ax: Axes) -> None:
    """(n_mfcc, frames) as a picture; the first coefficient, the level, is left out to show the others."""
    librosa.display.specshow(
        np.asarray(mfcc)[1:],
        sr=settings.sample_rate,
        hop_length=settings.hop_length,
        x_axis="time",
        ax=ax,
        cmap="cividis",
    )
    ax.set(xlabel="time in the window (s)", ylabel="MFCC")
    ax.label_outer()


def plot_history(history: pd.DataFrame):
    """Learning curves: loss and accuracy of the training and the validation part over the epochs."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for part, colour in (("training", BLUE), ("validation", ORANGE)):
            ax.plot(history["epoch"], history[f"{part}_{measure}"], color=colour, label=part)
        ax.set(xlabel="epoch", title=measure)
        ax.legend(frameon=False)
    return figure


def plot_schedules(histories: dict[str, pd.DataFrame]):
    """Validation loss and accuracy of the same network under several learning-rate schedules."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for name, history in histories.items():
            ax.plot(history["epoch"], history[f"validation_{measure}"], label=name)
        ax.set(xlabel="epoch", title=f"validation {measure}")
        ax.legend(frameon=False)
    return figure


def plot_confusion(predictions: pd.DataFrame, title: str = ""):
    """Share of each true emotion's clips that was given each emotion, with the counts written in."""
    labels = label_columns(predictions)
    counts = confusion_matrix(predictions["emotion"], predictions["prediction"], labels=labels)
    figure, ax = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
    shares = counts / counts.sum(axis=1, keepdims=True)
    sns.heatmap(
        shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, square=True, ax=ax,
        xticklabels=labels, yticklabels=labels, cbar_kws={"label": "share of the true emotion"},
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.tick_params(axis="x", rotation=45)
    return figure


def plot_recalls(tables: dict[str, pd.DataFrame]):
    """Bars of per-emotion recall, one colour for each named prediction table."""
    long = pd.concat(
        [recalls(table).rename("recall").rename_axis("emotion").reset_index().assign(model=name)
         for name, table in tables.items()]
    )  # fmt: skip
    order = max((label_columns(table) for table in tables.values()), key=len)
    figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
    sns.barplot(long, x="emotion", y="recall", hue="model", order=order, ax=ax)
    ax.set(ylim=(0, 1), xlabel="")
    ax.legend(frameon=False, ncols=len(tables), loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def plot_reliability(tables: dict[str, pd.DataFrame]):
    """Accuracy over confidence; a calibrated model lies on the diagonal, the dots are sized by their clips."""
    figure, ax = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
    ax.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    for (name, table), colour in zip(tables.items(), sns.color_palette("colorblind"), strict=False):
        bins = calibration_bins(table)
        ax.plot(bins["confidence"], bins["accuracy"], color=colour, linewidth=1)
        ax.scatter(bins["confidence"], bins["accuracy"], s=600 * bins["share"], color=colour, label=name, alpha=0.8)
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for handle in ax.legend(frameon=False).legend_handles:
        handle.set_sizes([40])
    return figure
