"""Compare two models by their predictions for the same recordings."""

import csv
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, uar
from speech_emotion.evaluation.truth import Evaluation, LabelTable, RavdessNames, group_column
from speech_emotion.inference.formats import read_table
from speech_emotion.inference.table import FIXED
from speech_emotion.terminal import Parser, program, say


def main(arguments: list[str] | None = None, name: str = "compare") -> int:
    parser = Parser(prog=name, description=__doc__)
    parser.add_argument("tables", nargs=2, metavar="OUT.csv", help="tables that eval.py wrote, one per model")
    parser.add_argument("--labels", metavar="FILE", help="CSV table of path, emotion and, optionally, speaker")
    parser.add_argument("--map", action="extend", nargs="+", default=[], metavar="LABEL=LABEL")
    with program(name) as ending:
        options = parser.parse_args(arguments)
        truth = LabelTable(options.labels) if options.labels else RavdessNames()
        tables = [read_predictions(path, truth, options.map) for path in options.tables]
        say(compare(*tables, tuple(options.tables)))
    return ending.status


def read_predictions(path: str | Path, truth: RavdessNames | LabelTable, joins: list[str]) -> pd.DataFrame:
    """The predictions in the table at `path` whose true emotion is known, indexed by clip.

    Raises ValueError if it is not a table of eval.py, or has none of the recordings.
    """
    table = read_table(path)
    try:
        rows = list(table)
    except (csv.Error, ValueError):
        rows = []
    if not rows or not {"url", "emotion", "confidence", "error"} <= {*rows[0]}:
        raise ValueError(f"{path} is not a table with rows that eval.py wrote")
    evaluation = Evaluation(truth, [column for column in rows[0] if column not in FIXED], joins)
    for row in rows:
        evaluation.add(row)
    if not evaluation:
        raise ValueError(f"{path} has no emotion for any of the {truth.source}; are its paths relative to this folder?")
    return evaluation.table().drop_duplicates("clip").set_index("clip")


def compare(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> str:
    """The printed comparison of two prediction tables, indexed by clip; only recordings in both count.

    The interval is a paired bootstrap: both models are evaluated on the same draws. The test is McNemar's exact test
    (1947) on the recordings that only one of the models classifies correctly.
    """
    common = a.index.intersection(b.index)
    if not len(common):
        raise ValueError(f"{names[0]} and {names[1]} have no recordings in common whose true emotion is known")
    a, b = (table.loc[common].reset_index() for table in (a, b))
    by = group_column(a)
    low, high = bootstrap_interval(a, lambda table, weights: uar(b, weights) - uar(table, weights), by)
    right_a, right_b = (table["emotion"] == table["prediction"] for table in (a, b))
    n_a, n_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = binomtest(n_a, n_a + n_b).pvalue if n_a + n_b else 1.0
    verdict = "these recordings do not show which model is better"
    if low > 0 or high < 0:
        verdict = f"{names[int(low > 0)]} has the better UAR"
    lines = [
        f"{len(common)} recordings are in both",
        *(f"{name}: accuracy {accuracy(t):.4f}, UAR {uar(t):.4f}" for name, t in zip(names, (a, b), strict=True)),
        f"UAR of the second minus that of the first: {uar(b) - uar(a):+.4f} ({low:+.4f} to {high:+.4f}; "
        f"95 % interval, paired bootstrap by {by})",
        f"correct only in the second: {n_b}, only in the first: {n_a}; p = {p:.3g} (exact McNemar test)",
        verdict,
    ]
    return "\n".join(lines)
