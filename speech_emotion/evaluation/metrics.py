"""Metrics of predictions: accuracy, UAR, intervals, calibration.

Predictions are tables with the columns clip, emotion (the truth), prediction, and either one probability per label or
the largest of them as confidence.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from speech_emotion.corpora import emodb
from speech_emotion.corpora.ravdess import parse_name
from speech_emotion.tables.rows import error_sentence, prediction_row

_WEIGHTS_AT_ONCE = 10_000_000  # weights of the bootstrap in memory: 80 MB


def prediction_table(clips: pd.DataFrame, predictions) -> pd.DataFrame:
    """The table of predictions for `clips`, sorted by clip; `predictions` are the rows of a Predictor, in order.

    Raises ValueError if a row has an error.
    """
    rows = list(predictions)
    if failed := [row for row in rows if row["error"]]:
        raise ValueError(f"{len(failed)} of {len(rows)} clips cannot be classified: {error_sentence(failed[0])}")
    table = pd.DataFrame(map(prediction_row, clips["clip"], clips["emotion"], rows))
    return table.sort_values("clip", ignore_index=True).round(5)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """A saved prediction table, with columns parsed from its clip names.

    For RAVDESS these are channel, actor, sex and intensity, for EmoDB speaker and sex.
    """
    table = pd.read_csv(path)
    if emodb.describe(table["clip"].iloc[0]):
        names, parts = [emodb.describe(clip) for clip in table["clip"]], ("speaker", "sex")
    else:
        names = [vars(parse_name(clip)) | {"sex": parse_name(clip).sex} for clip in table["clip"]]
        parts = ("channel", "actor", "sex", "intensity")
    return table.assign(**{part: [name[part] for name in names] for part in parts})


def label_columns(predictions: pd.DataFrame) -> list[str]:
    """The probability columns, in the order of the labels: all float columns except confidence."""
    fractions = predictions.select_dtypes("float").columns
    return [column for column in fractions if column != "confidence"]


def calm_as_neutral(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table for a corpus without calm: predictions of calm count as neutral."""
    return predictions.assign(prediction=predictions["prediction"].replace("calm", "neutral"))


def accuracy(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """The share of correct predictions; `weights` (N,), or (draws, N) for a result per draw, are counts of each row."""
    right = (predictions["emotion"] == predictions["prediction"]).to_numpy(float)
    weights = np.ones(len(right)) if weights is None else weights
    return _number(weights @ right / weights.sum(axis=-1))


def uar(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Unweighted average recall: every emotion has the same weight; `weights` as in accuracy."""
    right = (predictions["emotion"] == predictions["prediction"]).to_numpy(float)
    return mean_recall(predictions["emotion"], right, np.ones(len(right)), weights)


def mean_recall(emotions: pd.Series, right: np.ndarray, clips: np.ndarray, weights: np.ndarray | None = None):
    """UAR of rows (N,) that stand for `clips` clips each, of which `right` are correct; `weights` as in accuracy."""
    numbers, found = pd.factorize(emotions)
    of_emotion = (numbers[:, None] == np.arange(len(found))).astype(float)  # (N, emotions)
    weights = np.ones(len(right)) if weights is None else weights
    hits, clips = (weights * right) @ of_emotion, (weights * clips) @ of_emotion
    return _number((hits / clips.clip(min=1e-9)).sum(axis=-1) / (clips > 0).sum(axis=-1))


def overconfidence(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Mean confidence minus accuracy, positive for overconfidence; `weights` as in accuracy."""
    confidence = _confidence(predictions).to_numpy()
    weights = np.ones(len(confidence)) if weights is None else weights
    return _number(weights @ confidence / weights.sum(axis=-1) - accuracy(predictions, weights))


def _number(values: np.ndarray) -> float | np.ndarray:
    return float(values) if values.ndim == 0 else values


def _confidence(predictions: pd.DataFrame) -> pd.Series:
    columns = ["confidence"] if "confidence" in predictions else label_columns(predictions)
    return predictions[columns].max(axis=1)


def recalls(predictions: pd.DataFrame, by: str = "emotion") -> pd.Series:
    """The share of correct predictions by emotion, or by another column."""
    return (predictions["emotion"] == predictions["prediction"]).groupby(predictions[by]).mean()


def confusion(predictions: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """The confusion matrix, (labels, labels) counts: a row per true emotion, a column per prediction."""
    counts = pd.crosstab(predictions["emotion"], predictions["prediction"])
    return counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()


def bootstrap_interval(predictions: pd.DataFrame, metric, by: str = "clip", n: int = 1000, seed: int = 0):
    """95 % percentile bootstrap interval of `metric`, resampling the groups of column `by`.

    Unseen actors are resampled by actor, because the clips of one voice are not independent. `metric` takes the table
    and how often each row was drawn, (draws, N), like accuracy and uar.
    """
    rng = np.random.default_rng(seed)
    group, groups = pd.factorize(predictions[by], sort=True)

    def draw() -> np.ndarray:
        return np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))[group]

    at_once = max(1, _WEIGHTS_AT_ONCE // len(group))
    draws = (np.stack([draw() for _ in range(first, min(first + at_once, n))]) for first in range(0, n, at_once))
    values = [metric(predictions, weights.astype(float)) for weights in draws]
    return tuple(np.percentile(np.concatenate(values), [2.5, 97.5]))


def calibration_bins(predictions: pd.DataFrame, n_bins: int = 15) -> pd.DataFrame:
    """Mean confidence and accuracy in `n_bins` equal bins of confidence: columns confidence, accuracy, clips."""
    confidence = _confidence(predictions)
    correct = predictions["emotion"] == predictions["prediction"]
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    grouped = pd.DataFrame({"confidence": confidence, "accuracy": correct}).groupby(bins)
    return grouped.mean().assign(clips=grouped.size())


def expected_calibration_error(predictions: pd.DataFrame, n_bins: int = 15) -> float:
    """ECE: mean distance between confidence and accuracy over the bins, weighted by clips (Guo et al., 2017)."""
    bins = calibration_bins(predictions, n_bins)
    return float((bins["clips"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / len(predictions))


def wilson_interval(share, n):
    """95 % interval (low, high) of a share of `n` clips, for numbers or arrays (Wilson, 1927)."""
    z = 1.96
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and 1, one end equals the share; rounding must not move it past it.
    return np.minimum(centre - reach, share), np.maximum(centre + reach, share)


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature with the lowest negative log-likelihood (Guo et al., 2017); logits (N, classes), targets (N,)."""
    temperatures = torch.logspace(-1.5, 1.5, 301)
    losses = [torch.nn.functional.cross_entropy(logits / t, targets) for t in temperatures]
    return float(temperatures[int(torch.stack(losses).argmin())])
