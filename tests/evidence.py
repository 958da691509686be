"""Tables of the documents, and the committed files behind them, without a line of the package."""

import re

import numpy as np
import pandas as pd
from conftest import REPOSITORY
from sklearn.metrics import accuracy_score, recall_score

RESULTS = REPOSITORY / "results"
RUNS = {"CNN": "speaker8-fold?.csv", "any voice": "any8-fold?.csv", "adapted": "any8-fold?-adapted.csv"}
CLOSE = {"abs": 0.0006}  # three decimals
NEAR = {"abs": 0.02}  # ends of an interval, by other draws


def cells_of(document: str, marker: str) -> dict[str, list[str]]:
    """The cells of the table between the markers, by its first column."""
    text = (REPOSITORY / document).read_text(encoding="utf-8").split(f"<!-- {marker} -->")[1].split("<!-- /")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.strip().splitlines()[2:]]
    return {name: cells for name, *cells in lines}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[+-]?\d+\.\d+", text)]


def first(cells: list[str]) -> list[float]:
    return [numbers(cell)[0] for cell in cells]


def predictions(pattern: str, channel: str | None = None) -> list[pd.DataFrame]:
    """A table for each file, with what the names of RAVDESS say."""
    tables = []
    for path in sorted((RESULTS / "predictions").glob(pattern)):
        table = pd.read_csv(path)
        parts = table["clip"].str.split("-", expand=True).astype(int)
        table["channel"], table["actor"] = np.where(parts[1] == 1, "speech", "song"), parts[6]
        table["sex"], table["intensity"] = (
            np.where(parts[6] % 2, "men", "women"),
            np.where(parts[3] == 1, "normal", "strong"),
        )
        tables.append(table if channel is None else table[table["channel"] == channel])
    return tables


def pooled(run: str, channel: str | None = None) -> pd.DataFrame:
    return pd.concat(predictions(RUNS.get(run, run), channel), ignore_index=True)


def emodb(name: str) -> pd.DataFrame:
    table = pd.read_csv(RESULTS / f"predictions/{name}.csv")
    return table.assign(prediction=table["prediction"].replace("calm", "neutral"), speaker=table["clip"].str[:2])


def uar(table: pd.DataFrame) -> float:
    labels = sorted(table["emotion"].unique())
    return recall_score(table["emotion"], table["prediction"], labels=labels, average="macro", zero_division=0)


def accuracy(table: pd.DataFrame) -> float:
    return accuracy_score(table["emotion"], table["prediction"])


def interval(table: pd.DataFrame, metric, by: str, n: int = 300) -> np.ndarray:
    """By drawing rows, which the report never does."""
    rng, rows = np.random.default_rng(1), [group for _, group in table.groupby(by)]
    draws = (rng.integers(len(rows), size=len(rows)) for _ in range(n))
    return np.percentile([metric(pd.concat([rows[number] for number in drawn])) for drawn in draws], [2.5, 97.5])


def confidence(table: pd.DataFrame) -> pd.Series:
    return table.select_dtypes("float").max(axis=1)


def ece(table: pd.DataFrame) -> float:
    bins = pd.cut(confidence(table), np.linspace(0, 1, 16), right=False, include_lowest=True)
    right = table["emotion"] == table["prediction"]
    gaps = [
        abs(confidence(table)[rows].mean() - right[rows].mean()) * len(rows)
        for rows in table.groupby(bins, observed=True).groups.values()
    ]
    return sum(gaps) / len(table)
