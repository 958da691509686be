"""The tables and pictures of the README, made from the results of the runs without audio."""

import re
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt
import pandas as pd

from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    calm_as_neutral,
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
    plot_schedules,
    save_picture,
    use_style,
)
from speech_emotion.evaluation.results import PUBLISHED, result_files, write_run_picture

SCHEDULE_RUNS = {"one cycle": "random7-split0", "cosine, warm restarts": "random7-split0-cosine_warm_restarts"}


def write_report(results: str | Path, repository: str | Path) -> None:
    """Make `results/figures` anew and replace the tables between the markers of README.md and MODEL_CARD.md.

    Raises FileNotFoundError or ValueError, before anything is written, when something is lacking.
    """
    results = Path(results)
    runs = {path.stem: read_predictions(path) for path in sorted(Path(results, "predictions").glob("*.csv"))}
    needed = [result_files(results, published.run)["predictions"] for published in PUBLISHED]
    needed += [result_files(results, name)["histories"] for name in {*SCHEDULE_RUNS.values(), PUBLISHED[0].run}]
    needed.append(results / "robustness.csv")
    if lacking := sorted(str(path) for path in needed if not path.exists()):
        raise FileNotFoundError(f"the report needs {', '.join(lacking)}; train.py --help says what makes them")
    if not _tables(runs, "speaker8-fold"):
        raise FileNotFoundError(f"there is no speaker8-fold0.csv in {results}/predictions; train.py --fold 0 makes it")
    readme, card = (Path(repository, name) for name in ("README.md", "MODEL_CARD.md"))
    tables = {
        readme: {
            "checkpoints": checkpoints_table(runs),
            "strangers": strangers_table(runs),
            "results": results_table(runs),
        },
        card: {
            "groups": groups_table(runs),
            "robustness": robustness_table(pd.read_csv(results / "robustness.csv")),
        },
    }
    documents = {}
    for path, texts in tables.items():
        documents[path] = path.read_text(encoding="utf-8")
        for marker, text in texts.items():
            try:
                documents[path] = replace_between_markers(documents[path], marker, text)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    write_figures(runs, results)
    for path, document in documents.items():
        part = path.with_name(f"{path.name}.part")
        part.write_text(document, encoding="utf-8")
        part.replace(path)


def write_figures(runs: dict[str, pd.DataFrame], results: Path) -> None:
    use_style()
    figures = results / "figures"
    figures.mkdir(exist_ok=True)
    histories = {name: result_files(results, name)["histories"] for name in {*runs, *SCHEDULE_RUNS.values()}}
    histories = {name: pd.read_csv(path) for name, path in histories.items() if path.exists()}
    eight, seven, _ = PUBLISHED
    both = {published.title: runs[published.run] for published in (eight, seven)}
    pictures = {
        "schedules": plot_schedules({title: histories[name] for title, name in SCHEDULE_RUNS.items()}),
        "confusion-eight": plot_confusion(runs[eight.run], eight.file),
        "confusion-without-sad": plot_confusion(runs[seven.run], seven.file),
        "recalls": plot_recalls(both),
        "reliability": plot_reliability(both),
        "learning-curves": plot_history(histories[eight.run]),
    }
    for name, figure in pictures.items():
        save_picture(figure, figures / f"{name}.png")
        plt.close(figure)
    for name, predictions in runs.items():
        if name in histories:
            write_run_picture(results, name, histories[name], predictions)


def checkpoints_table(runs: dict[str, pd.DataFrame]) -> str:
    """Markdown: the committed models on their own test clips."""
    rows = [
        [f"`{model.file}`", len(runs[model.run]), f"{accuracy(runs[model.run]):.4f}", f"{uar(runs[model.run]):.4f}"]
        for model in PUBLISHED
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
        ("any voice: known speakers", "any8-split", None, "clip"),
        ("any voice: unseen speakers, speech", "any8-fold", "speech", "actor"),
        ("any voice: unseen speakers, speech and song", "any8-fold", None, "actor"),
        ("any voice, adapted: unseen speakers, speech", r"any8-fold\d-adapted", "speech", "actor"),
        ("any voice, adapted: unseen speakers, speech and song", r"any8-fold\d-adapted", None, "actor"),
        ("any voice, control: shuffled labels", "any8-split0-shuffled", None, "clip"),
    ):
        if tables := _tables(runs, prefix, channel):
            rows.append([question, len(tables), *_mean_and_interval(tables, by)])
    header = ["question", "runs", "clips", "accuracy", "sd over runs", "UAR", "calibration error"]
    return _markdown(header, rows)


def strangers_table(runs: dict[str, pd.DataFrame]) -> str:
    """Markdown: the three ways to ask, side by side, for voices that were heard in training, and for others.

    Means over the runs. EmoDB has no calm: what was taken for calm counts as neutral there.
    """
    rows = []
    for question, metric, channel, cells in (
        ("other clips of voices that it knows, accuracy", accuracy, None, ("random8-split", "any8-split", None)),
        (
            "actors that it has not heard, speech, UAR", uar, "speech",
            ("speaker8-fold", "any8-fold", r"any8-fold\d-adapted"),
        ),
        (
            "the same, speech and song, accuracy", accuracy, None,
            ("speaker8-fold", "any8-fold", r"any8-fold\d-adapted"),
        ),
        (
            "German actors (EmoDB), UAR", lambda table: uar(calm_as_neutral(table)), None,
            ("random8-emodb", "any8-emodb", "any8-emodb-adapted"),
        ),
    ):  # fmt: skip
        row = [question]
        for prefix in cells:
            tables = _tables(runs, prefix, channel) if prefix else []
            row.append(f"{mean(map(metric, tables)):.3f}" if tables else "")
        rows.append(row)
    return _markdown(["", "`model.pt`", "`model_any_voice.pt`", "the same with `--adapt`"], rows)


def _tables(runs: dict[str, pd.DataFrame], prefix: str, channel: str | None = None) -> list[pd.DataFrame]:
    """The predictions of every split or fold of one kind, of all clips or those of one channel."""
    tables = [table for name, table in runs.items() if re.fullmatch(rf"{prefix}\d*", name)]
    return [table[table["channel"] == channel] for table in tables] if channel else tables


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
    """Markdown: each model's accuracy by condition, and the points lost against the first, the clips as recorded."""
    measured = robustness.set_index("condition")
    lost = 100 * (measured.iloc[0] - measured)
    rows = [
        [condition, *(cell for model in measured for cell in (f"{row[model]:.3f}", f"{lost.at[condition, model]:.1f}"))]
        for condition, row in measured.iterrows()
    ]
    return _markdown(["condition", *(name for model in measured for name in (f"`{model}`", "points lost"))], rows)


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


def replace_between_markers(document: str, marker: str, text: str) -> str:
    """`document` with `text` between <!-- marker --> and <!-- /marker -->; raises ValueError without those."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    replaced, n = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"there is not one {begin} ... {end} to fill")
    return replaced
