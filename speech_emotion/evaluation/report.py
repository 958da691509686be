"""The written results of a run, and the tables and pictures of the README that are made from them without audio."""

import re
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt
import pandas as pd

from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    expected_calibration_error,
    read_predictions,
    recalls,
    uar,
)
from speech_emotion.evaluation.plots import (
    plot_confusion,
    plot_history,
    plot_recalls,
    plot_reliability,
    plot_run,
    plot_schedules,
    save_picture,
    use_style,
)


def write_results(
    folder: str | Path, name: str, parts: dict[str, pd.DataFrame], history: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    """Keep one run: which clip was in which part, its learning curve, its predictions, each as KIND/NAME.csv.

    Its picture is figures/runs/NAME.png.
    """
    split = pd.concat([clips[["clip"]].assign(part=part) for part, clips in parts.items()]).sort_values("clip")
    for kind, table in (("splits", split), ("histories", history), ("predictions", predictions)):
        path = Path(folder, kind, f"{name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, float_format="%.5f")
    write_run_picture(Path(folder), name, history, predictions)


def write_run_picture(results: Path, name: str, history: pd.DataFrame, predictions: pd.DataFrame) -> None:
    use_style()
    path = results / "figures" / "runs" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(plot_run(history, predictions, name), path)


def write_report(results: str | Path, repository: str | Path) -> None:
    """Make `results/figures` anew and replace the tables between the markers of README.md and MODEL_CARD.md."""
    runs = {path.stem: read_predictions(path) for path in sorted(Path(results, "predictions").glob("*.csv"))}
    if not runs:
        raise FileNotFoundError(f"there are no predictions in {results}/predictions; python3 train.py makes them")
    figures = Path(results, "figures")
    figures.mkdir(exist_ok=True)
    write_figures(runs, Path(results), figures)
    readme = Path(repository, "README.md")
    replace_between_markers(readme, "checkpoints", checkpoints_table(runs))
    replace_between_markers(readme, "results", results_table(runs))
    robustness = pd.read_csv(Path(results, "robustness.csv"))
    replace_between_markers(readme, "robustness", robustness_table(robustness))
    replace_between_markers(Path(repository, "MODEL_CARD.md"), "groups", groups_table(runs))


def write_figures(runs: dict[str, pd.DataFrame], results: Path, figures: Path) -> None:
    use_style()
    both = {"eight emotions": runs["random8-split0"], "without sad": runs["random7-split0"]}
    schedules = {
        name: pd.read_csv(results / "histories" / f"random7-split0{suffix}.csv")
        for name, suffix in (("one cycle", ""), ("cosine, warm restarts", "-cosine_warm_restarts"))
    }
    pictures = {
        "schedules": plot_schedules(schedules),
        "confusion-eight": plot_confusion(both["eight emotions"], "model.pt"),
        "confusion-without-sad": plot_confusion(both["without sad"], "model_sad_removed.pt"),
        "recalls": plot_recalls(both),
        "reliability": plot_reliability(both),
        "learning-curves": plot_history(pd.read_csv(results / "histories" / "random8-split0.csv")),
    }
    for name, figure in pictures.items():
        save_picture(figure, figures / f"{name}.png")
        plt.close(figure)
    for name, predictions in runs.items():
        write_run_picture(results, name, pd.read_csv(results / "histories" / f"{name}.csv"), predictions)


def checkpoints_table(runs: dict[str, pd.DataFrame]) -> str:
    """Markdown: the two committed models on their own test clips."""
    rows = [
        [f"`{file}`", len(runs[name]), f"{accuracy(runs[name]):.4f}", f"{uar(runs[name]):.4f}"]
        for file, name in (("model.pt", "random8-split0"), ("model_sad_removed.pt", "random7-split0"))
    ]
    return _markdown(["model", "test clips", "accuracy", "UAR"], rows)


def results_table(runs: dict[str, pd.DataFrame]) -> str:
    """Markdown: a row for each question, from every run that answers it, with 95 % bootstrap intervals."""
    rows = []
    for question, prefix, channel, by in (
        ("known speakers, eight emotions", "random8-split", None, "clip"),
        ("known speakers, without sad", "random7-split", None, "clip"),
        ("unseen speakers, speech", "speaker8-fold", "speech", "actor"),
        ("unseen speakers, speech and song", "speaker8-fold", None, "actor"),
        ("control: shuffled labels", "random8-split0-shuffled", None, "clip"),
    ):
        tables = _tables(runs, prefix)
        if channel:
            tables = [table[table["channel"] == channel] for table in tables]
        if tables:
            rows.append([question, len(tables), *_mean_and_interval(tables, by)])
    header = ["question", "runs", "clips", "accuracy", "sd over runs", "UAR", "calibration error"]
    return _markdown(header, rows)


def _tables(runs: dict[str, pd.DataFrame], prefix: str) -> list[pd.DataFrame]:
    """The predictions of every split or fold of one kind."""
    return [table for name, table in runs.items() if re.fullmatch(rf"{prefix}\d*", name)]


def _mean_and_interval(tables: list[pd.DataFrame], by: str) -> list[str]:
    """Clips, then means over the runs: accuracy and its deviation, UAR, both with intervals, calibration error."""
    together = pd.concat(tables)
    cells = []
    for metric in (accuracy, uar):
        low, high = bootstrap_interval(together, metric, by)
        cells.append(f"{mean(map(metric, tables)):.3f} ({low:.3f} to {high:.3f})")
    deviation = f"{stdev(map(accuracy, tables)):.3f}" if len(tables) > 1 else ""
    error = f"{mean(map(expected_calibration_error, tables)):.3f}"
    return [str(len(together)), cells[0], deviation, cells[1], error]


def robustness_table(robustness: pd.DataFrame) -> str:
    """Markdown: accuracy under each condition and the points lost against the first, the clips as recorded."""
    lost = 100 * (robustness["accuracy"].iloc[0] - robustness["accuracy"])
    rows = zip(
        robustness["condition"], robustness["accuracy"].map("{:.3f}".format), lost.map("{:.1f}".format), strict=True
    )
    return _markdown(["condition", "accuracy", "points lost"], [list(row) for row in rows])


def groups_table(runs: dict[str, pd.DataFrame]) -> str:
    """Markdown: the share of clips recognised, by emotion, sex, channel and intensity, over all splits and folds."""
    tables = [pd.concat(_tables(runs, prefix)) for prefix in ("random8-split", "speaker8-fold")]
    rows = []
    for part in ("emotion", "sex", "channel", "intensity"):
        known, unseen = (recalls(table, part) for table in tables)
        rows += [[group, f"{known[group]:.3f}", f"{unseen[group]:.3f}"] for group in known.index]
    return _markdown(["group", "known speakers", "unseen speakers"], rows)


def _markdown(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def replace_between_markers(path: Path, marker: str, text: str) -> None:
    """Put `text` between <!-- marker --> and <!-- /marker -->; raises ValueError when they are not there."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    document = path.read_text(encoding="utf-8")
    replaced, n = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"{path} has no {begin} ... {end} to fill")
    path.write_text(replaced, encoding="utf-8")
