"""Plots that only the notebooks use: waveforms, MFCC, augmentations, the network, embeddings.

M: mel bands, C: coefficients, T: frames, N: clips.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speech_emotion.evaluation.plots import BLUE, COLOURS, ORANGE
from speech_emotion.models.cnn import EmotionCNN, Stream
from speech_emotion.models.features import FeatureSettings

_SHADE = "#fbe8cf"  # solid and behind the waveform, so that it does not change the colour of the waveform
_MFCC_PERCENTILE = 99  # of the magnitudes; end of the colour scale
_MFCC_COLOURS = 15  # steps; a smooth colour scale would show noise and double the size of the notebook
_SPEAKERS_APART = 5  # every fifth speaker is coloured; odd, because men and women alternate in RAVDESS
_BOX_WIDTH, _BOX_HEIGHT = 0.84, 0.62


def plot_waveforms(waveforms: dict[str, torch.Tensor], starts_s: dict[str, float], settings, columns: int) -> Figure:
    """One panel per waveform, by title: samples (S,) over seconds, each on its own scale, with its window shaded."""
    rows = -(-len(waveforms) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(11, 1.9 * rows), layout="constrained", sharex=True, squeeze=False
    )
    for ax, (title, waveform) in zip(axes.flat, waveforms.items(), strict=True):
        _draw_wave(waveform, settings.sample_rate, ax)
        ax.axvspan(starts_s[title], starts_s[title] + settings.window_s, color=_SHADE, linewidth=0, zorder=0)
        ax.set(title=title, xlabel="time (s)")
        ax.label_outer()
        ax.tick_params(labelleft=True)
    return figure


def _draw_wave(waveform: torch.Tensor, sample_rate: int, ax: Axes) -> None:
    """Draw the lowest and highest sample of every 5 ms of (S,)."""
    step = sample_rate // 200
    pieces = np.pad(np.asarray(waveform), (0, -len(waveform) % step), mode="edge").reshape(-1, step)
    edges = np.arange(len(pieces) + 1) * step / sample_rate
    ax.stairs(
        pieces.max(axis=1), edges, baseline=pieces.min(axis=1), fill=True, color=BLUE, edgecolor=BLUE, linewidth=1
    )
    reach = 1.1 * np.abs(pieces).max()
    ax.set(ylim=(-reach, reach))


def plot_mfcc_steps(
    window: np.ndarray,
    power: np.ndarray,
    mel: np.ndarray,
    decibels: np.ndarray,
    coefficients: np.ndarray,
    features: FeatureSettings,
) -> Figure:
    """A window (S,), its spectrum and mel bands, both of power, their decibels and MFCC: (rows, T) each."""
    figure, axes = plt.subplots(
        5, 1, figsize=(11, 10), layout="constrained", sharex=True, height_ratios=[1, 2, 2, 2, 2]
    )
    _draw_wave(window, features.sample_rate, axes[0])
    axes[0].set(title="samples", ylabel="amplitude")
    kilohertz, bands = features.sample_rate / 2000, (-0.5, len(mel) - 0.5)
    reach = np.percentile(np.abs(coefficients[1:]), _MFCC_PERCENTILE)
    images = [
        ("1. power of each frequency", "kHz", power, (0, kilohertz), {"vmax": np.percentile(power, 99.5)}, "power"),
        ("2. sum in each mel band", "mel band", mel, bands, {"vmax": np.percentile(mel, 99.5)}, "power"),
        ("3. logarithm", "mel band", decibels, bands, {}, "dB below the loudest"),
        (
            "4. cosine transform over the bands: MFCC, from 1 on", "coefficient", coefficients[1:],
            (0.5, len(coefficients) - 0.5), {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}, "",
        ),
    ]  # fmt: skip
    for ax, (title, rows, values, extent, scale, unit) in zip(axes[1:], images, strict=True):
        mesh = ax.imshow(
            values, interpolation="nearest", origin="lower", aspect="auto", extent=(0, features.window_s, *extent),
            **{"cmap": "cividis", **scale},
        )  # fmt: skip
        ax.set(title=title, ylabel=rows)
        figure.colorbar(mesh, ax=ax, label=unit, pad=0.01)
    axes[-1].set_xlabel("time in the window (s)")
    return figure


def plot_mfccs(mfccs: dict[str, torch.Tensor], features: FeatureSettings) -> Figure:
    """MFCC (C, T), by title: coefficient 0, the level, as a line, the others as an image; all share one scale."""
    rows = -(-len(mfccs) // 2)
    figure = plt.figure(figsize=(11, 2.6 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, 2, sharex=True, height_ratios=[1, 3] * rows)
    frames_s = np.arange(features.n_frames) * features.hop_length / features.sample_rate
    levels = [float(value) for mfcc in mfccs.values() for value in (mfcc[0].min(), mfcc[0].max())]
    others = torch.cat([mfcc[1:].flatten() for mfcc in mfccs.values()]).abs().numpy()
    scale = np.percentile(others, _MFCC_PERCENTILE)
    colours = plt.get_cmap("RdBu_r", _MFCC_COLOURS)
    for number, (title, mfcc) in enumerate(mfccs.items()):
        level, image = axes[2 * (number // 2) : 2 * (number // 2) + 2, number % 2]
        level.plot(frames_s, mfcc[0], color=BLUE)
        level.set(title=title, ylabel="level", ylim=(min(levels) - 20, max(levels) + 20))
        extent = (0, frames_s[-1], 0.5, len(mfcc) - 0.5)
        mesh = image.imshow(
            mfcc[1:].numpy(),
            interpolation="nearest",
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap=colours,
            vmin=-scale,
            vmax=scale,
        )
        image.set(xlabel="time in the window (s)", ylabel="coefficient", yticks=[1, 20, 40, 60])
        for ax in (level, image):
            ax.label_outer()
    figure.colorbar(mesh, ax=axes, label="coefficients from 1 on", extend="both", aspect=40, pad=0.01)
    return figure


def plot_log_mels(log_mels: dict[str, torch.Tensor], features: FeatureSettings) -> Figure:
    """Log-mel spectrograms (M, T) in dB, by title, side by side, each relative to its loudest point."""
    figure, axes = plt.subplots(1, len(log_mels), figsize=(12, 2.9), layout="constrained", sharey=True)
    for ax, (title, log_mel) in zip(axes, log_mels.items(), strict=True):
        mesh = ax.imshow(
            (log_mel - log_mel.max()).numpy(), interpolation="nearest", origin="lower", aspect="auto", cmap="cividis",
            vmin=-features.top_db, vmax=0, extent=(0, features.window_s, -0.5, len(log_mel) - 0.5),
        )  # fmt: skip
        ax.set(title=title, xlabel="time in the window (s)")
    axes[0].set_ylabel("mel band")
    figure.colorbar(mesh, ax=axes, label="dB", pad=0.01)
    return figure


def plot_network(network: EmotionCNN) -> Figure:
    """Block diagram of the two streams, with the output size of each block."""
    settings = network.settings
    network = network.for_inference()
    figure, ax = plt.subplots(figsize=(12, 3.4), layout="constrained")
    begin, end = (0, 0.5), (8, 0.5)
    _box(ax, begin, "MFCC", f"{settings.n_mfcc} x {settings.n_frames}", ORANGE)
    _box(ax, end, "mean", f"{settings.n_classes} logits", ORANGE)
    streams = [
        (1, "back to\nmel bands", network.spectral, settings.n_mels),
        (0, "leading\ncoefficients", network.cepstral, settings.n_cepstrum),
    ]
    for height, entrance, stream, n_rows in streams:
        boxes = [(entrance, f"{n_rows} x {settings.n_frames}"), *_layers(stream, n_rows, settings.n_frames)]
        places = [begin, *((1 + number, height) for number in range(len(boxes))), end]
        for place, (name, size) in zip(places[1:], boxes, strict=False):
            _box(ax, place, name, size, BLUE)
        for (x, y), (next_x, next_y) in pairwise(places):
            arrow = {"arrowstyle": "->", "color": "grey"}
            ax.annotate("", (next_x - _BOX_WIDTH / 2, next_y), (x + _BOX_WIDTH / 2, y), arrowprops=arrow)
    ax.text(0.6, 1.45, "spectral stream", fontweight="bold")
    ax.text(0.6, -0.55, "cepstral stream", fontweight="bold")
    ax.set(xlim=(-0.5, 8.5), ylim=(-0.65, 1.65))
    ax.axis("off")
    return figure


@torch.inference_mode()
def _layers(stream: Stream, n_rows: int, n_frames: int) -> list[tuple[str, str]]:
    """The layers of a stream and their output sizes (channels x rows x frames) for an input (rows, frames)."""
    x = torch.zeros(1, 1, n_rows, n_frames)
    first, _, *blocks = stream.blocks
    layers = [
        ("convolution\n5 x 7", first),
        *(("residual\nblock", block) for block in blocks),
        ("rows joined", stream.join),
    ]
    sizes = []
    for name, layer in layers:
        x = layer(x)
        sizes.append((name, " x ".join(map(str, x.shape[1:]))))
    return [*sizes, ("linear", f"{stream.classify.out_features} logits")]


def _box(ax: Axes, place: tuple[float, float], name: str, size: str, colour: str) -> None:
    x, y = place[0] - _BOX_WIDTH / 2, place[1] - _BOX_HEIGHT / 2
    ax.add_patch(plt.Rectangle((x, y), _BOX_WIDTH, _BOX_HEIGHT, facecolor="white", edgecolor=colour, linewidth=2))
    ax.text(*place, f"{name}\n{size}", ha="center", va="center", fontsize="small")


def plot_embeddings(maps: dict[str, np.ndarray], speakers: np.ndarray, emotions: np.ndarray) -> Figure:
    """One row per map, by title: points (N, 2) coloured by speaker (some speakers only) and by emotion."""
    figure, axes = plt.subplots(len(maps), 2, figsize=(11, 4.6 * len(maps)), layout="constrained", squeeze=False)
    chosen = np.unique(speakers)[::_SPEAKERS_APART]
    colours = sns.color_palette("colorblind").as_hex()
    edge = {"edgecolor": "dimgrey", "linewidth": 0.3}  # pale colours show on white
    for (left, right), (title, points) in zip(axes, maps.items(), strict=True):
        left.scatter(*points[~np.isin(speakers, chosen)].T, s=7, color="lightgrey", label="the others")
        for speaker, colour in zip(chosen, colours, strict=False):
            left.scatter(*points[speakers == speaker].T, s=9, color=colour, label=f"actor {speaker}")
        for emotion, colour in COLOURS.items():
            right.scatter(*points[emotions == emotion].T, s=9, color=colour, label=emotion, **edge)
        left.set(title=f"{title}: speakers", xticks=[], yticks=[])
        right.set(title=f"{title}: emotions", xticks=[], yticks=[])
    for ax in axes[-1]:
        ax.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 0), markerscale=2)
    return figure
