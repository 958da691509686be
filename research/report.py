"""Fill the tables of the documents and draw the pictures, from the committed files under results/; needs no audio.

    python3 -m research.report

A document shows a table where it has its marker, <!-- NAME --> … <!-- /NAME -->; the names are in research/tables.py.
"""

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from research import REPOSITORY, parser_of
from research.tables import UNSEEN, actors_of, all_tables, folder_uar, pooled, read_adaptation, read_predictions
from research.teaching import plot_teaching, teaching_table
from speech_emotion.evaluation.metrics import bootstrap_interval
from speech_emotion.evaluation.plots import BLUE, ORANGE, save_picture, use_style
from speech_emotion.terminal import program

DOCUMENTS = ("README.md", "MODEL_CARD.md", "docs/own-labels.md", "results/README.md")
SCHEDULES = {"one cycle": "random7-split0", "cosine, warm restarts": "random7-split0-cosine_warm_restarts"}
APART = 0.16  # of women and men from the centre of a column


def main() -> None:
    with program("research.report", (OSError, ValueError)) as ending:
        write_report(parser_of(__doc__).parse_args().results, REPOSITORY)
    sys.exit(ending.status)


def write_report(results: Path, repository: Path) -> None:
    """Replace the tables in `DOCUMENTS` under `repository`, and write `results`/figures.

    Raises OSError or ValueError, before anything is written, if a result is missing or a marker is not closed.
    """
    tables = all_tables(results)
    if (results / "teaching.csv").exists():
        tables["own"] = teaching_table(pd.read_csv(results / "teaching.csv"))
    figures = {
        "schedules": plot_schedules(
            {name: pd.read_csv(results / f"histories/{run}.csv") for name, run in SCHEDULES.items()}
        ),
        "actors": plot_actors(results / "predictions"),
        "adaptation": plot_adaptation(read_adaptation(results)),
    }
    if "own" in tables:
        figures["teaching"] = plot_teaching(pd.read_csv(results / "teaching.csv"))
    documents = {}
    for name in DOCUMENTS:
        path = repository / name
        try:
            documents[path] = with_tables(path.read_text(encoding="utf-8"), tables)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    (results / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        save_picture(figure, results / f"figures/{name}.png")
        plt.close(figure)
    for path, document in documents.items():
        path.write_text(document, encoding="utf-8")


def with_tables(document: str, tables: dict[str, str]) -> str:
    """`document` with each table between its markers. Raises ValueError for a marker that is not closed."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        filled = f"{begin}\n{table}\n{end}"
        document, n = re.subn(f"{begin}.*?{end}", lambda _, filled=filled: filled, document, flags=re.DOTALL)
        if (document.count(begin), document.count(end)) != (n, n) or n > 1:
            raise ValueError(f"{begin} must stand at most once, and be closed with {end}")
    return document


def plot_schedules(histories: dict[str, pd.DataFrame]) -> Figure:
    """Validation loss and accuracy by epoch, one line per learning-rate schedule."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for (name, history), style in zip(histories.items(), ("-", "--"), strict=True):
            ax.plot(history["epoch"], history[f"validation_{measure}"], style, label=name)
        ax.set(xlabel="epoch", title=f"validation {measure}")
        ax.legend(frameon=False)
    return figure


def plot_actors(predictions: Path) -> Figure:
    """A dot per unseen actor by configuration, women and men separately; speech on the left, song on the right."""
    use_style()
    runs = {path.stem: read_predictions(path) for path in sorted(predictions.glob("*8-fold*.csv"))}
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained", sharey=True)
    for ax, channel in zip(axes, ("speech", "song"), strict=True):
        for place, prefix in enumerate(UNSEEN.values()):
            table = pooled(runs, prefix, channel)
            for sex, name, colour, marker, side in (
                ("female", "women", ORANGE, "o", -APART),
                ("male", "men", BLUE, "s", APART),
            ):
                actors = actors_of(table[table["sex"] == sex])
                x = place + side + np.linspace(-0.1, 0.1, len(actors))
                ax.plot(x, actors, marker, color=colour, alpha=0.8, markersize=5, label="" if place else name)
                ax.hlines(actors.mean(), x[0], x[-1], color=colour, linewidth=2)
        ax.set(title=f"{channel} of unseen actors", ylim=(0, 1), xticks=range(len(UNSEEN)))
        ax.set_xticklabels(["model.pt", "any voice", "any voice, --adapt"])
    axes[0].set_ylabel("UAR of one actor; the line is the mean")
    axes[1].legend(frameon=False, loc="lower right")
    return figure


def plot_adaptation(tables: dict[str, pd.DataFrame]) -> Figure:
    """UAR without and with --adapt by kind of folder, with 95 % intervals by speaker; a panel per corpus."""
    use_style()
    figure, axes = plt.subplots(1, len(tables), figsize=(9.6, 4.2), layout="constrained", sharey=True)
    for ax, (corpus, table) in zip(axes, tables.items(), strict=True):
        kinds = list(table["folder"].unique())
        for answers, name, colour, marker, side in (
            ("plain", "without --adapt", BLUE, "s", -0.1),
            ("adapted", "with --adapt", ORANGE, "o", 0.1),
        ):
            for place, kind in enumerate(kinds):
                folders = table[table["folder"] == kind]

                def metric(table: pd.DataFrame, weights: np.ndarray | None = None, answers: str = answers):
                    return folder_uar(table, weights, answers)

                value, (low, high) = metric(folders), bootstrap_interval(folders, metric, "speaker")
                reach = [[value - low], [high - value]]
                label = "" if place else name
                ax.errorbar(place + side, value, reach, fmt=marker, color=colour, capsize=3, label=label)
        ax.axvline(len(kinds) - 3.5, color="lightgrey")
        ax.set(title=corpus, xticks=range(len(kinds)))
        ax.set_xticklabels(kinds, rotation=40, ha="right", rotation_mode="anchor")
    axes[0].set_ylabel("UAR, 95 % interval by speaker")
    axes[-1].legend(frameon=False, loc="lower left")
    return figure


if __name__ == "__main__":
    main()
