"""How good a model is, from its predictions alone: accuracy, UAR, intervals, calibration.

Predictions are tables with the columns clip, emotion (the truth), prediction, and one probability per label; where
those are not at hand, their largest may stand in the column confidence.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from speech_emotion.corpora import emodb
from speech_emotion.corpora.ravdess import parse_name
from speech_emotion.tables.rows import error_sentence, prediction_row

_WEIGHTS_AT_ONCE = 10_000_000  # of the bootstrap: 80 MB


def prediction_table(clips: pd.DataFrame, predictions) -> pd.DataFrame:
    """The clips with what a Predictor said of each (its rows, in the same order), sorted by clip.

    Raises ValueError when it has an error for one.
    """
    rows = list(predictions)
    if failed := [row for row in rows if row["error"]]:
        raise ValueError(f"{len(failed)} of {len(rows)} clips cannot be classified: {error_sentence(failed[0])}")
    table = pd.DataFrame(map(prediction_row, clips["clip"], clips["emotion"], rows))
    return table.sort_values("clip", ignore_index=True).round(5)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """A saved prediction table, with what the names of its clips say.

    Of RAVDESS that is channel, actor, sex and intensity, of EmoDB speaker and sex.
    """
    table = pd.read_csv(path)
    if emodb.describe(table["clip"].iloc[0]):
        names, parts = [emodb.describe(clip) for clip in table["clip"]], ("speaker", "sex")
    else:
        names = [vars(parse_name(clip)) | {"sex": parse_name(clip).sex} for clip in table["clip"]]
        parts = ("channel", "actor", "sex", "intensity")
    return table.assign(**{part: [name[part] for name in names] for part in parts})


def label_columns(predictions: pd.DataFrame) -> list[str]:
    """The probability columns, in the order of the labels: those of fractions."""
    fractions = predictions.select_dtypes("float").columns
    return [column for column in fractions if column != "confidence"]


def calm_as_neutral(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table for a corpus that has no calm: what was taken for calm counts as neutral."""
    return predictions.assign(prediction=predictions["prediction"].replace("calm", "neutral"))


def accuracy(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """The share that is right; `weights` (N,), or (draws, N) for one of each draw, count rows several times or not."""
    right = (predictions["emotion"] == predictions["prediction"]).to_numpy(float)
    weights = np.ones(len(right)) if weights is None else weights
    return _number(weights @ right / weights.sum(axis=-1))


def uar(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Unweighted average recall: every emotion counts alike, however many clips it has; `weights` as in accuracy."""
    right = (predictions["emotion"] == predictions["prediction"]).to_numpy(float)
    return mean_recall(predictions["emotion"], right, np.ones(len(right)), weights)


def mean_recall(emotions: pd.Series, right: np.ndarray, clips: np.ndarray, weights: np.ndarray | None = None):
    """UAR of rows that stand for several clips each, of which some are right (N,); `weights` as in accuracy."""
    numbers, found = pd.factorize(emotions)
    of_emotion = (numbers[:, None] == np.arange(len(found))).astype(float)  # (N, emotions)
    weights = np.ones(len(right)) if weights is None else weights
    hits, clips = (weights * right) @ of_emotion, (weights * clips) @ of_emotion
    return _number((hits / clips.clip(min=1)).sum(axis=-1) / (clips > 0).sum(axis=-1))


def overconfidence(predictions: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Mean confidence less accuracy: above 0 the model promises more than it keeps; `weights` as in accuracy."""
    confidence = _confidence(predictions).to_numpy()
    weights = np.ones(len(confidence)) if weights is None else weights
    return _number(weights @ confidence / weights.sum(axis=-1) - accuracy(predictions, weights))


def _number(values: np.ndarray) -> float | np.ndarray:
    return float(values) if values.ndim == 0 else values


def _confidence(predictions: pd.DataFrame) -> pd.Series:
    columns = ["confidence"] if "confidence" in predictions else label_columns(predictions)
    return predictions[columns].max(axis=1)


def recalls(predictions: pd.DataFrame, by: str = "emotion") -> pd.Series:
    """The share of each emotion's clips that were recognised, or of those of another group."""
    return (predictions["emotion"] == predictions["prediction"]).groupby(predictions[by]).mean()


def confusion(predictions: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """How often each true emotion, a row, was given each emotion, a column: (labels, labels) counts."""
    counts = pd.crosstab(predictions["emotion"], predictions["prediction"])
    return counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()


def bootstrap_interval(predictions: pd.DataFrame, metric, by: str = "clip", n: int = 1000, seed: int = 0):
    """95 % percentile interval of `metric`, resampling `by` clip or by actor (the clips of one voice go together).

    `metric` takes the table and how often each row was drawn, (draws, N), as accuracy and uar do.
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
    """Confidence against accuracy in `n_bins` equal bins of confidence: columns confidence, accuracy, clips."""
    confidence = _confidence(predictions)
    correct = predictions["emotion"] == predictions["prediction"]
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    grouped = pd.DataFrame({"confidence": confidence, "accuracy": correct}).groupby(bins)
    return grouped.mean().assign(clips=grouped.size())


def expected_calibration_error(predictions: pd.DataFrame, n_bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over the bins (Guo et al., 2017)."""
    bins = calibration_bins(predictions, n_bins)
    return float((bins["clips"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / len(predictions))


def wilson_interval(share, n):
    """95 % interval of a share of `n` clips, low and high, of numbers or arrays (Wilson, 1927)."""
    z = 1.96
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and 1 an end is the share itself; rounding must not put it on the other side.
    return np.minimum(centre - reach, share), np.maximum(centre + reach, share)


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature of least negative log-likelihood (Guo et al., 2017); logits (N, classes), targets (N,)."""
    temperatures = torch.logspace(-1.5, 1.5, 301)
    losses = [torch.nn.functional.cross_entropy(logits / t, targets) for t in temperatures]
    return float(temperatures[int(torch.stack(losses).argmin())])
