"""Metrics against scipy and plain loops; test_evidence.py and test_truth.py compare them with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    fit_temperature,
    prediction_table,
    uar,
    wilson_interval,
)


def table(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """From the truth, the prediction and its confidence; the other of the two emotions has the rest."""
    happy = [confidence if given == "happy" else 1 - confidence for _, given, confidence in rows]
    truth, given, _ = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "clip": [f"clip {i}" for i in range(len(rows))],
            "emotion": truth,
            "prediction": given,
            "happy": happy,
            "sad": [1 - p for p in happy],
        }
    )


FOUR = table(("happy", "happy", 0.9), ("happy", "happy", 0.7), ("happy", "sad", 0.9), ("sad", "sad", 0.6))


def test_uar_counts_every_emotion_alike():
    assert accuracy(FOUR) == pytest.approx(3 / 4)
    assert uar(FOUR) == pytest.approx((2 / 3 + 1) / 2)
    assert uar(table(("happy", "sad", 0.9), ("sad", "happy", 0.9))) == 0


def test_the_fitted_temperature_is_that_of_least_loss():
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(500, 4, generator=generator)
    targets = torch.where(torch.rand(500, generator=generator) < 0.6, logits.argmax(1), 0)

    def loss(log_temperature: float) -> float:
        return torch.nn.functional.cross_entropy(logits / 10**log_temperature, targets).item()

    best = 10 ** minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x
    assert best > 2
    assert fit_temperature(logits, targets) == pytest.approx(best, rel=0.012)
    assert np.log10(fit_temperature(logits, targets)) * 100 == pytest.approx(round(np.log10(best) * 100), abs=1e-3)
    # What is always right cannot be too sure, what is right by chance not unsure enough.
    assert fit_temperature(torch.eye(4), torch.arange(4)) == pytest.approx(10**-1.5)
    assert fit_temperature(100 * torch.eye(4), torch.tensor([1, 2, 3, 0])) == pytest.approx(10**1.5)


def test_the_bootstrap_draws_whole_groups_and_takes_the_middle_95_percent():
    rng = np.random.default_rng(1)
    rows = table(*[(*rng.choice(["happy", "sad"], size=2), rng.uniform(0.5, 1)) for _ in range(40)])
    rows["actor"] = rng.integers(6, size=40)

    def confidence(rows: pd.DataFrame, weights: np.ndarray | None = None) -> np.ndarray:
        weights = np.ones(len(rows)) if weights is None else weights
        return weights @ rows[["happy", "sad"]].max(axis=1).to_numpy() / weights.sum(axis=-1)

    for metric in (accuracy, uar, confidence):
        draws, values = np.random.default_rng(3), []
        for _ in range(200):
            actors = draws.integers(6, size=6)
            values.append(metric(pd.concat([rows[rows["actor"] == actor] for actor in actors], ignore_index=True)))
        expected = np.quantile(values, [0.025, 0.975])
        assert bootstrap_interval(rows, metric, "actor", n=200, seed=3) == pytest.approx(expected)
    defaults = bootstrap_interval(rows, confidence)
    assert defaults == bootstrap_interval(rows, confidence, "clip", n=1000, seed=0)
    assert defaults != bootstrap_interval(rows, confidence, "clip", n=1001, seed=0)


def test_the_interval_of_a_share_is_that_of_wilson():
    for right, n in ((0, 10), (3, 10), (10, 10), (431, 491)):
        expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
        assert wilson_interval(right / n, n) == pytest.approx(tuple(expected), abs=1e-4)
    shares = np.array([0.0, 1.0])
    low, high = wilson_interval(shares, np.array([5, 7]))
    assert (low <= shares).all() and (high >= shares).all()


def test_predictions_are_sorted_by_clip_and_a_clip_that_cannot_be_classified_is_named():
    clips = pd.DataFrame({"clip": ["b", "a"], "emotion": ["happy", "sad"]})
    row = {"url": "b.wav", "emotion": "sad", "confidence": 0.8, "happy": 0.123456789, "sad": 0.8, "error": ""}
    found = prediction_table(clips, iter([row] * 2))
    assert found.columns.tolist() == ["clip", "emotion", "prediction", "happy", "sad"]
    assert found["clip"].tolist() == ["a", "b"] and found["emotion"].tolist() == ["sad", "happy"]
    assert found["happy"].tolist() == [0.12346] * 2 and found.index.tolist() == [0, 1]
    with pytest.raises(ValueError, match="^1 of 2 clips cannot be classified: b.wav: silent$"):
        prediction_table(clips, [row, row | {"error": "silent"}])
