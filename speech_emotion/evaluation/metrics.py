"""Metrics of predictions: accuracy, UAR, intervals, calibration.

Predictions are tables with the columns clip, emotion (the truth), prediction, and either one probability per label or
the largest of them as confidence. What eval.py reports is computed from dicts of columns as well, without pandas, which
takes as long to import as many recordings take to classify.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from speech_emotion.inference.table import FIXED, error_sentence

if TYPE_CHECKING:
    import pandas as pd
    import torch

_WEIGHTS_AT_ONCE = 10_000_000  # weights of the bootstrap in memory: 80 MB


def prediction_table(clips: pd.DataFrame, predictions) -> pd.DataFrame:
    """The table of predictions for `clips`, sorted by clip; `predictions` are the rows of a Predictor, in order.

    Raises ValueError if a row has an error.
    """
    import pandas as pd

    rows = list(predictions)
    if failed := [row for row in rows if row["error"]]:
        raise ValueError(f"{len(failed)} of {len(rows)} clips cannot be classified: {error_sentence(failed[0])}")
    table = []
    for clip, emotion, row in zip(clips["clip"], clips["emotion"], rows, strict=True):
        probabilities = {column: value for column, value in row.items() if column not in FIXED}
        table.append({"clip": clip, "emotion": emotion, "prediction": row["emotion"], **probabilities})
    return pd.DataFrame(table).sort_values("clip", ignore_index=True).round(5)


def label_columns(predictions: pd.DataFrame) -> list[str]:
    """The probability columns, in the order of the labels: all float columns except confidence."""
    fractions = predictions.select_dtypes("float").columns
    return [column for column in fractions if column != "confidence"]


def accuracy(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """The share of correct predictions; `weights` (N,), or (draws, N) for a result per draw, are counts of each row."""
    right = _right(predictions)
    weights = np.ones(len(right)) if weights is None else weights
    return _ratio(weights @ right, weights.sum(axis=-1))


def uar(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Unweighted average recall: every emotion has the same weight; `weights` as in accuracy."""
    right = _right(predictions)
    return mean_recall(predictions["emotion"], right, np.ones(len(right)), weights)


def mean_recall(emotions: Iterable[str], right: np.ndarray, clips: np.ndarray, weights: np.ndarray | None = None):
    """UAR of rows (N,) that stand for `clips` clips each, of which `right` are correct; `weights` as in accuracy."""
    present = list(dict.fromkeys(emotions))
    of_emotion = (_places(emotions, present)[:, None] == np.arange(len(present))).astype(float)  # (N, emotions)
    weights = np.ones(len(right)) if weights is None else weights
    hits, clips = (weights * right) @ of_emotion, (weights * clips) @ of_emotion
    return _ratio((hits / clips.clip(min=1)).sum(axis=-1), (clips > 0).sum(axis=-1))


def _ratio(numbers, of) -> float | np.ndarray:
    """One number divided by another, or arrays of them; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        values = np.asarray(np.true_divide(numbers, of))
    return float(values) if values.ndim == 0 else values


def _right(predictions: pd.DataFrame) -> np.ndarray:
    return (np.asarray(predictions["emotion"]) == np.asarray(predictions["prediction"])).astype(float)


def _places(values: Iterable, names: Iterable) -> np.ndarray:
    """Where each of the values is among the names."""
    place_of = {name: place for place, name in enumerate(names)}
    return np.array([place_of[value] for value in values])


def _confidence(predictions: pd.DataFrame) -> np.ndarray:
    if "confidence" in predictions:
        return np.asarray(predictions["confidence"])
    return predictions[label_columns(predictions)].to_numpy().max(axis=1)


def recalls(predictions: pd.DataFrame) -> pd.Series:
    """The share of correct predictions by emotion."""
    return (predictions["emotion"] == predictions["prediction"]).groupby(predictions["emotion"]).mean()


def confusion(predictions: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """The confusion matrix, (labels, labels) counts: a row per true emotion, a column per prediction."""
    counts = Counter(zip(predictions["emotion"], predictions["prediction"], strict=True))
    return np.array([[counts[true, given] for given in labels] for true in labels])


def bootstrap_interval(predictions: pd.DataFrame, metric, by: str = "clip", n: int = 1000, seed: int = 0):
    """95 % percentile bootstrap interval of `metric`, resampling the groups of column `by`.

    Unseen actors are resampled by actor, because the clips of one voice are not independent. `metric` takes the table
    and how often each row was drawn, (draws, N), like accuracy and uar. Draws for which the metric is NaN, because a
    group that it compares was not drawn, are left out.
    """
    rng = np.random.default_rng(seed)
    groups = sorted(set(predictions[by]))
    group = _places(predictions[by], groups)

    def draw() -> np.ndarray:
        return np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))[group]

    at_once = max(1, _WEIGHTS_AT_ONCE // len(group))
    draws = (np.stack([draw() for _ in range(first, min(first + at_once, n))]) for first in range(0, n, at_once))
    values = [metric(predictions, weights.astype(float)) for weights in draws]
    return tuple(np.nanpercentile(np.concatenate(values), [2.5, 97.5]))


def calibration_bins(predictions: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Mean confidence and accuracy in `n_bins` equal bins of confidence: columns confidence, accuracy, clips."""
    import pandas as pd

    confidence = _confidence(predictions)
    columns = {"confidence": confidence, "accuracy": _right(predictions)}
    grouped = pd.DataFrame(columns).groupby(_bins(confidence, n_bins))
    return grouped.mean().assign(clips=grouped.size())


def expected_calibration_error(predictions: pd.DataFrame, n_bins: int = 15) -> float:
    """ECE: mean distance between confidence and accuracy over the bins, weighted by clips (Guo et al., 2017)."""
    confidence = _confidence(predictions)
    beyond = np.bincount(_bins(confidence, n_bins), confidence - _right(predictions))  # of each bin, times its clips
    return float(np.abs(beyond).sum() / len(confidence))


def _bins(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    return np.minimum((confidence * n_bins).astype(int), n_bins - 1)


def wilson_interval(share, n):
    """95 % interval (low, high) of a share of `n` clips, for numbers or arrays (Wilson, 1927)."""
    z = 1.96
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and 1, one end equals the share; rounding must not move it past it.
    return np.minimum(centre - reach, share), np.maximum(centre + reach, share)


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature with the lowest negative log-likelihood (Guo et al., 2017); logits (N, classes), targets (N,)."""
    import torch  # here, because a path that does not exist is told before it is imported

    temperatures = torch.logspace(-1.5, 1.5, 301)
    losses = [torch.nn.functional.cross_entropy(logits / t, targets) for t in temperatures]
    return float(temperatures[int(torch.stack(losses).argmin())])
