"""The report's plots of actors and of adaptation."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from research.report_adaptation import FOLDERS, folder_uar
from speech_emotion.evaluation.metrics import bootstrap_interval, uar
from speech_emotion.evaluation.plots import BLUE, ORANGE

_SEXES = (("female", "women", ORANGE, "o"), ("male", "men", BLUE, "s"))
_APART = 0.16  # offset of women and men from the centre of a column


def plot_actors(tables: dict[str, pd.DataFrame]) -> Figure:
    """A dot per actor by configuration, women and men separately; speech on the left, song on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained", sharey=True)
    for ax, channel in zip(axes, ("speech", "song"), strict=True):
        for place, table in enumerate(tables.values()):
            spoken = table[table["channel"] == channel]
            for (sex, name, colour, marker), side in zip(_SEXES, (-_APART, _APART), strict=True):
                actors = spoken[spoken["sex"] == sex].groupby("actor").apply(uar, include_groups=False)
                spread = place + side + np.linspace(-0.1, 0.1, len(actors))
                ax.plot(spread, actors, marker, color=colour, alpha=0.8, markersize=5, label="" if place else name)
                ax.hlines(actors.mean(), spread[0], spread[-1], color=colour, linewidth=2)
        ax.set(title=f"{channel} of unseen actors", ylim=(0, 1), xticks=range(len(tables)))
        ax.set_xticklabels(tables)
    axes[0].set_ylabel("UAR of one actor; the line is the mean")
    axes[1].legend(frameon=False, loc="lower right")
    return figure


def plot_adaptation(tables: dict[str, pd.DataFrame]) -> Figure:
    """UAR without and with --adapt by kind of folder, with 95 % intervals by speaker; a panel per corpus."""
    figure, axes = plt.subplots(1, len(tables), figsize=(9.6, 4.2), layout="constrained", sharey=True, squeeze=False)
    for ax, (corpus, table) in zip(axes[0], tables.items(), strict=True):
        for answers, colour, marker, side in (("plain", BLUE, "s", -0.1), ("adapted", ORANGE, "o", 0.1)):
            for place, kind in enumerate(FOLDERS):
                of_kind = table[table["folder"] == kind]
                value = folder_uar(of_kind, answers=answers)

                def metric(table: pd.DataFrame, weights: np.ndarray, answers: str = answers) -> np.ndarray:
                    return folder_uar(table, weights, answers)

                low, high = bootstrap_interval(of_kind, metric, "speaker")
                label = {"plain": "without", "adapted": "with"}[answers] + " --adapt" if place == 0 else None
                reach = [[value - low], [high - value]]
                ax.errorbar(place + side, value, reach, fmt=marker, color=colour, capsize=3, label=label)
        ax.axvline(len(FOLDERS) - 3.5, color="lightgrey")
        ax.set(title=corpus, xticks=range(len(FOLDERS)))
        ax.set_xticklabels(FOLDERS, rotation=40, ha="right", rotation_mode="anchor")
    axes[0, 0].set_ylabel("UAR, 95 % interval by speaker")
    axes[0, -1].legend(frameon=False, loc="lower left")
    return figure
