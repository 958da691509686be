"""Answers limited to the emotions that can occur."""

import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from speech_emotion import Predictor
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.models.emotions import choose_emotions

FILE = REPOSITORY / "eval_data" / "bright_french.mp3"
EIGHT = list(EMOTIONS)


@pytest.mark.parametrize("model", ["model.pt", "model_any_voice.pt"])
def test_only_the_chosen_emotions_share_the_probability(model):
    predictor = Predictor(REPOSITORY / model)
    (row,) = predictor.predict(FILE)
    limited = predictor.for_emotions(["sad", "happy", "angry"])
    (answer,) = limited.predict(FILE)
    assert limited.labels == ["happy", "sad", "angry"]
    assert [name for name in answer if name in EIGHT] == limited.labels
    total = sum(row[emotion] for emotion in limited.labels)
    for emotion in limited.labels:
        assert answer[emotion] == pytest.approx(row[emotion] / total, abs=1e-4)
    assert answer["emotion"] == max(limited.labels, key=row.get)
    assert answer["confidence"] == answer[answer["emotion"]]
    assert next(predictor.for_emotions([]).predict(FILE)) == row
    assert next(Predictor(REPOSITORY / model, emotions=["happy", "sad", "angry"]).predict(FILE)) == answer


@pytest.mark.parametrize(
    ("chosen", "probabilities"),
    [
        (["neutral", "angry"], [0.1 + 0.2, 0.5]),  # with the probability of calm
        (["calm", "angry"], [0.1 + 0.2, 0.5]),
        (["neutral", "calm", "angry"], [0.1, 0.2, 0.5]),
        (["happy", "angry"], [0.2, 0.5]),  # neither of them was asked for
    ],
)
def test_neutral_gets_the_probability_of_calm_where_calm_cannot_be_answered(chosen, probabilities):
    labels, counts_for = choose_emotions(["neutral", "calm", "happy", "angry"], chosen)
    assert labels == chosen
    np.testing.assert_allclose(torch.tensor([0.1, 0.2, 0.2, 0.5]) @ counts_for, probabilities, rtol=1e-6)


def test_emotions_may_be_named_in_another_form_and_twice():
    assert choose_emotions(EIGHT, ["Anger", "JOY", "angry"])[0] == ["happy", "angry"]
    assert choose_emotions(["bored", "Relieved"], ["relieved", "bored"])[0] == ["bored", "Relieved"]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (["happy", "angrry"], "does not have the emotion angrry; did you mean angry?"),
        (["happy", "xyz"], "does not have the emotion xyz; it has neutral, calm"),
        (["happy", "joy"], "at least two emotions are needed"),
    ],
)
def test_emotions_that_cannot_be_answered_are_refused(chosen, sentence):
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        choose_emotions(EIGHT, chosen)
