"""The report's main tables, in Markdown: how accurate the models are, and for whom."""

import re
import textwrap
from collections.abc import Callable, Iterable
from statistics import mean

import pandas as pd

from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, calm_as_neutral, uar
from speech_emotion.models.published import PUBLISHED

Runs = dict[str, pd.DataFrame]  # name of the run → its predictions, as read_predictions returns them

# The configurations that are compared, and their runs on held-out actors (regular expressions, without the fold).
UNSEEN = {
    "`model.pt` recipe": "speaker8-fold",
    "`model_any_voice.pt` recipe": "any8-fold",
    "same with `--adapt`": r"any8-fold\d-adapted",
}
CHANNELS = ("speech", "song")


def tables_of(runs: Runs, prefix: str, channel: str | None = None) -> list[pd.DataFrame]:
    """The predictions of every split or fold of one kind: all clips, or those of one channel."""
    tables = [table for name, table in runs.items() if re.fullmatch(rf"{prefix}\d*", name)]
    return [table[table["channel"] == channel] for table in tables] if channel else tables


def pooled(runs: Runs, prefix: str, channel: str | None = None) -> pd.DataFrame:
    """The tables of `tables_of`, concatenated."""
    return pd.concat(tables_of(runs, prefix, channel), ignore_index=True)


def markdown(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def paragraph(text: str) -> str:
    """`text` wrapped to the width of the documents; the items of a list are indented."""
    indent = "  " if text.startswith("* ") else ""
    return textwrap.fill(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def interval(table: pd.DataFrame, metric: Callable, by: str, signed: bool = False) -> str:
    """The 95 % bootstrap interval as text."""
    return " to ".join(f"{end:+.3f}" if signed else f"{end:.3f}" for end in bootstrap_interval(table, metric, by))


def strangers_table(runs: Runs) -> str:
    """UAR of the three configurations for known voices, unseen actors and EmoDB; means over the runs."""

    def row(name: str, prefixes: Iterable[str], channel: str | None = None, metric: Callable = uar) -> list[str]:
        found = [tables_of(runs, prefix, channel) for prefix in prefixes]
        return [name, *(f"{mean(map(metric, tables)):.3f}" if tables else "" for tables in found)]

    rows = [row("known voices", ("random8-split", "any8-split", "nothing"))]
    rows += [row(f"unseen actors, {channel}", UNSEEN.values(), channel) for channel in CHANNELS]
    german = ("random8-emodb", "any8-emodb", "any8-emodb-adapted")
    rows.append(row("German actors (EmoDB)", german, metric=lambda table: uar(calm_as_neutral(table))))
    return markdown(["UAR", *UNSEEN], rows)


def checkpoints_table(runs: Runs) -> str:
    """Accuracy of the committed models on their own test clips, and of the same recipe on all five splits."""
    rows = []
    for model in PUBLISHED:
        own, splits = runs[model.run], tables_of(runs, model.run[:-1])
        of_splits = [accuracy(table) for table in splits]
        rows.append(
            [
                f"`{model.file}`", len(own), f"{accuracy(own):.4f} ({interval(own, accuracy, 'clip')})",
                f"{mean(of_splits):.3f}", f"{min(of_splits):.3f} to {max(of_splits):.3f}",
            ]
        )  # fmt: skip
    return markdown(
        ["file", "test clips", "accuracy (95 %)", f"mean of {len(splits)} splits", "lowest to highest"], rows
    )


QUESTIONS = (  # name, runs, channels, and what is resampled for the interval
    ("`model.pt`: known voices", "random8-split", (None, *CHANNELS), "clip"),
    ("`model_sad_removed.pt`: known voices", "random7-split", (None,), "clip"),
    ("`model.pt`: unseen actors", "speaker8-fold", CHANNELS, "actor"),
    ("`model.pt`: shuffled labels", "random8-split0-shuffled", (None,), "clip"),
    ("`model_any_voice.pt`: known voices", "any8-split", (None, *CHANNELS), "clip"),
    ("`model_any_voice.pt`: unseen actors", "any8-fold", CHANNELS, "actor"),
    ("with `--adapt`: unseen actors", r"any8-fold\d-adapted", CHANNELS, "actor"),
    ("`model_any_voice.pt`: shuffled labels", "any8-split0-shuffled", (None,), "clip"),
)

BRIEFLY = [  # without the controls, and of unseen actors only speech
    (question, prefix, ("speech",) if by == "actor" else (None,), by)
    for question, prefix, channels, by in QUESTIONS
    if not prefix.endswith("shuffled")
]


def results_table(runs: Runs, metric: Callable = uar, questions: Iterable = QUESTIONS) -> str:
    """A row for each question: the mean over its runs, the interval, the lowest and highest run."""
    rows = []
    for question, prefix, channels, by in questions:
        for channel in channels:
            if not (tables := tables_of(runs, prefix, channel)):
                continue
            values, together = [metric(table) for table in tables], pd.concat(tables)
            cells = [f"{mean(values):.3f} ({interval(together, metric, by)})"]
            cells.append(f"{min(values):.3f} to {max(values):.3f}" if len(values) > 1 else "")
            name = question if channel is None else f"{question}, {channel}"
            rows.append([name, len(tables), len(together), *cells])
    name = {uar: "UAR", accuracy: "accuracy"}[metric]
    return markdown(["recipe", "runs", "clips", f"{name} (95 %)", "lowest to highest run"], rows)


def robustness_table(answers: pd.DataFrame) -> str:
    """Each model's accuracy by condition, and the points lost against the clips as recorded (the first condition).

    `answers` is the table that robustness.measure returns.
    """
    models = answers.columns.drop(["condition", "clip", "emotion"])
    right = answers[models].eq(answers["emotion"], axis=0)
    measured = right.groupby(answers["condition"], sort=False).mean()
    lost = 100 * (measured.iloc[0] - measured)
    rows = [
        [condition, *(cell for model in models for cell in (f"{row[model]:.3f}", f"{lost.at[condition, model]:.1f}"))]
        for condition, row in measured.iterrows()
    ]
    return markdown(["condition", *(name for model in models for name in (f"`{model}`", "points lost"))], rows)
