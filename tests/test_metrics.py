"""Metrics against scipy and plain loops; test_evidence.py and test_truth.py compare them with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar

from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, fit_temperature, prediction_table, uar


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
    rows = pd.DataFrame({name: rng.choice(["happy", "sad"], size=40) for name in ("emotion", "prediction")})
    rows = rows.assign(clip=range(40), actor=rng.integers(6, size=40), happy=rng.uniform(size=40))
    rows["sad"] = 1 - rows["happy"]

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


def test_predictions_are_sorted_by_clip_and_a_clip_that_cannot_be_classified_is_named():
    clips = pd.DataFrame({"clip": ["b", "a"], "emotion": ["happy", "sad"]})
    row = {"url": "b.wav", "emotion": "sad", "confidence": 0.8, "happy": 0.123456789, "sad": 0.8, "error": ""}
    found = prediction_table(clips, iter([row] * 2))
    assert found.columns.tolist() == ["clip", "emotion", "prediction", "happy", "sad"]
    assert found["clip"].tolist() == ["a", "b"] and found["emotion"].tolist() == ["sad", "happy"]
    assert found["happy"].tolist() == [0.12346] * 2 and found.index.tolist() == [0, 1]
    with pytest.raises(ValueError, match="^1 of 2 clips cannot be classified: b.wav: silent$"):
        prediction_table(clips, [row, row | {"error": "silent"}])
