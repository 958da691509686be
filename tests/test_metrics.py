"""The numbers of the README, against small tables worked out by hand and against scipy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    expected_calibration_error,
    fit_temperature,
    overconfidence,
    prediction_table,
    uar,
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


def test_calibration_error_is_the_mean_distance_over_the_bins():
    """Two clips at 0.9, one right: 0.4 off. One at 0.7 and one at 0.6, both right: 0.3 and 0.4 off."""
    assert expected_calibration_error(FOUR) == pytest.approx((2 * 0.4 + 0.3 + 0.4) / 4)
    assert expected_calibration_error(FOUR, n_bins=1) == pytest.approx(abs((0.9 + 0.7 + 0.9 + 0.6) / 4 - 3 / 4))


def test_the_bootstrap_interval_is_that_of_the_binomial_distribution():
    actors, clips = 10, 40
    halves = table(*[("happy", "happy" if actor % 2 else "sad", 0.8) for actor in range(actors) for _ in range(clips)])
    halves["actor"] = [actor for actor in range(actors) for _ in range(clips)]
    for by, n in (("clip", actors * clips), ("actor", actors)):
        expected = [binom.ppf(q, n, 0.5) / n for q in (0.025, 0.975)]
        assert bootstrap_interval(halves, accuracy, by, n=2000) == pytest.approx(expected, abs=0.006)


def test_draws_that_are_weighed_at_once_are_those_that_are_weighed_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    rows = table(*[(*rng.choice(["happy", "sad"], size=2), rng.uniform(0.5, 1)) for _ in range(50)])
    draws = rng.integers(3, size=(7, 50)).astype(float)
    for metric in (accuracy, uar, overconfidence):
        assert metric(rows, draws).tolist() == pytest.approx([metric(rows, draw) for draw in draws])
        expected = bootstrap_interval(rows, metric)
        monkeypatch.setattr(metrics, "_WEIGHTS_AT_ONCE", 3 * len(rows))
        assert bootstrap_interval(rows, metric) == pytest.approx(expected)
        monkeypatch.undo()


def test_overconfidence_is_what_is_promised_and_not_kept():
    assert overconfidence(FOUR) == pytest.approx((0.9 + 0.7 + 0.9 + 0.6) / 4 - 3 / 4)
    assert overconfidence(FOUR, np.array([0, 0, 1, 0])) == pytest.approx(0.9)


def test_the_fitted_temperature_is_that_of_least_loss():
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(500, 4, generator=generator)
    targets = torch.where(torch.rand(500, generator=generator) < 0.6, logits.argmax(1), 0)

    def loss(log_temperature: float) -> float:
        return torch.nn.functional.cross_entropy(logits / 10**log_temperature, targets).item()

    best = 10 ** minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x
    assert best > 2
    assert fit_temperature(logits, targets) == pytest.approx(best, rel=0.03)


def test_a_clip_that_cannot_be_classified_is_named_and_not_counted_as_wrong():
    clips = pd.DataFrame({"clip": ["a", "b"], "emotion": ["happy", "sad"]})
    rows = [
        {"url": "a.wav", "emotion": "happy", "confidence": 0.9, "happy": 0.9, "sad": 0.1, "error": ""},
        {"url": "b.wav", "emotion": "", "confidence": None, "happy": None, "sad": None, "error": "silent"},
    ]
    with pytest.raises(ValueError, match="^1 of 2 clips cannot be classified: b.wav: silent$"):
        prediction_table(clips, rows)
