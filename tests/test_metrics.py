"""The numbers of the README, against small tables worked out by hand and against scipy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    calibration_bins,
    calm_as_neutral,
    confusion,
    expected_calibration_error,
    fit_temperature,
    label_columns,
    mean_recall,
    overconfidence,
    prediction_table,
    recalls,
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


def test_metrics_of_many_draws_at_once_equal_those_of_single_draws(monkeypatch):
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
    assert fit_temperature(logits, targets) == pytest.approx(best, rel=0.012)
    assert np.log10(fit_temperature(logits, targets)) * 100 == pytest.approx(round(np.log10(best) * 100), abs=1e-3)
    # What is always right cannot be too sure, what is right by chance not unsure enough.
    assert fit_temperature(torch.eye(4), torch.arange(4)) == pytest.approx(10**-1.5)
    assert fit_temperature(100 * torch.eye(4), torch.tensor([1, 2, 3, 0])) == pytest.approx(10**1.5)


def test_a_clip_that_cannot_be_classified_is_named_and_not_counted_as_wrong():
    clips = pd.DataFrame({"clip": ["a", "b"], "emotion": ["happy", "sad"]})
    rows = [
        {"url": "a.wav", "emotion": "happy", "confidence": 0.9, "happy": 0.9, "sad": 0.1, "error": ""},
        {"url": "b.wav", "emotion": "", "confidence": None, "happy": None, "sad": None, "error": "silent"},
    ]
    with pytest.raises(ValueError, match="^1 of 2 clips cannot be classified: b.wav: silent$"):
        prediction_table(clips, rows)


def test_the_bootstrap_draws_whole_groups_and_takes_the_middle_95_percent():
    rng = np.random.default_rng(1)
    rows = table(*[(*rng.choice(["happy", "sad"], size=2), rng.uniform(0.5, 1)) for _ in range(40)])
    rows["actor"] = rng.integers(6, size=40)
    for metric in (accuracy, uar, overconfidence):
        draws, values = np.random.default_rng(3), []
        for _ in range(200):
            actors = draws.integers(6, size=6)
            values.append(metric(pd.concat([rows[rows["actor"] == actor] for actor in actors], ignore_index=True)))
        expected = np.quantile(values, [0.025, 0.975])
        assert bootstrap_interval(rows, metric, "actor", n=200, seed=3) == pytest.approx(expected)
    defaults = bootstrap_interval(rows, overconfidence)
    assert defaults == bootstrap_interval(rows, overconfidence, "clip", n=1000, seed=0)
    assert defaults != bootstrap_interval(rows, overconfidence, "clip", n=1001, seed=0)


def test_recall_of_rows_that_stand_for_several_clips():
    """Happy: 3 of 4 and 1 of 6 clips; sad: 5 of 10; angry: drawn in neither of the two draws, or once."""
    emotions = pd.Series(["happy", "happy", "sad", "angry"])
    right, clips = np.array([3.0, 1, 5, 1]), np.array([4.0, 6, 10, 4])
    assert mean_recall(emotions, right, clips) == pytest.approx((4 / 10 + 5 / 10 + 1 / 4) / 3)
    draws = np.array([[1.0, 1, 1, 0], [2, 0, 0, 1]])
    expected = [(4 / 10 + 5 / 10) / 2, (6 / 8 + 1 / 4) / 2]
    assert mean_recall(emotions, right, clips, draws).tolist() == pytest.approx(expected)


def test_recalls_and_confusion_are_counted_by_the_truth():
    assert recalls(FOUR).to_dict() == {"happy": pytest.approx(2 / 3), "sad": 1.0}
    assert recalls(FOUR.assign(sex=["female", "male", "male", "male"]), "sex").to_dict() == {
        "female": 1.0,
        "male": pytest.approx(2 / 3),
    }
    assert confusion(FOUR, ["sad", "happy", "calm"]).tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_the_bins_of_calibration_are_equal_and_the_last_has_certainty():
    rows = FOUR.assign(happy=[1.0, 0.7, 0.5, 0.25], sad=[0.0, 0.3, 0.5, 0.75])
    bins = calibration_bins(rows, n_bins=4)
    assert bins.index.tolist() == [2, 3] and bins["clips"].tolist() == [2, 2]
    assert bins["confidence"].tolist() == pytest.approx([0.6, 0.875]) and bins["accuracy"].tolist() == [0.5, 1.0]
    assert calibration_bins(rows.assign(confidence=[0.1, 0.1, 0.9, 0.9]), 2)["accuracy"].tolist() == [1.0, 0.5]
    fine = table(*[("happy" if i % 3 else "sad", "happy", 0.9) for i in range(30)])
    fine = fine.assign(confidence=(np.arange(30) + 0.5) / 30)
    assert calibration_bins(fine)["clips"].tolist() == [2] * 15
    right = np.array([i % 3 > 0 for i in range(30)])
    gaps = (fine["confidence"] - right).to_numpy().reshape(15, 2).mean(axis=1)
    assert expected_calibration_error(fine) == pytest.approx(np.abs(gaps).mean())
    assert expected_calibration_error(fine, n_bins=16) != pytest.approx(np.abs(gaps).mean())


def test_the_interval_of_a_share_is_that_of_wilson():
    for right, n in ((0, 10), (3, 10), (10, 10), (431, 491)):
        expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
        assert wilson_interval(right / n, n) == pytest.approx(tuple(expected), abs=1e-4)
    shares = np.array([0.0, 1.0])
    low, high = wilson_interval(shares, np.array([5, 7]))
    assert (low <= shares).all() and (high >= shares).all()


def test_labels_are_the_columns_of_probabilities_and_calm_may_count_as_neutral():
    assert label_columns(FOUR.assign(confidence=0.9, actor=3)) == ["happy", "sad"]
    calm = FOUR.assign(prediction=["calm", "calm", "sad", "neutral"])
    assert calm_as_neutral(calm)["prediction"].tolist() == ["neutral", "neutral", "sad", "neutral"]


def test_predictions_are_sorted_by_clip_and_rounded():
    clips = pd.DataFrame({"clip": ["b", "a"], "emotion": ["happy", "sad"]})
    rows = [{"emotion": "happy", "happy": 0.123456789, "sad": 0.8, "error": ""}] * 2
    found = prediction_table(clips, iter(rows))
    assert found["clip"].tolist() == ["a", "b"] and found["emotion"].tolist() == ["sad", "happy"]
    assert found["happy"].tolist() == [0.12346] * 2 and found.index.tolist() == [0, 1]
