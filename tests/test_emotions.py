"""Answers limited to the emotions that can occur."""

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, run_eval

from speech_emotion import Predictor
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.inference.formats import read_table
from speech_emotion.models.network import choose_emotions

FILE = REPOSITORY / "eval_data" / "bright_french.mp3"
EIGHT = list(EMOTIONS)


@pytest.mark.parametrize("model", ["model.pt", "model_any_voice.pt"])
def test_only_the_chosen_emotions_share_the_probability(model):
    predictor, chosen = Predictor(REPOSITORY / model), ["happy", "sad", "angry"]
    (row,) = predictor.predict(FILE)
    (answer,) = predictor.for_emotions(["sad", "happy", "angry"]).predict(FILE)
    probabilities = {name: value for name, value in answer.items() if name in EIGHT}
    total = sum(row[emotion] for emotion in chosen)
    assert probabilities == pytest.approx({emotion: row[emotion] / total for emotion in chosen}, abs=1e-4)
    assert list(probabilities) == chosen
    assert answer["emotion"] == max(chosen, key=row.get) and answer["confidence"] == max(probabilities.values())
    assert next(predictor.for_emotions([]).predict(FILE)) == row
    assert next(Predictor(REPOSITORY / model, emotions=chosen).predict(FILE)) == answer


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
    ("other", "sentence"),
    [("xyz", "does not have the emotion xyz; it has neutral, calm"), ("joy", "at least two emotions")],
)
def test_emotions_that_cannot_be_answered_are_refused(other, sentence):
    with pytest.raises(ValueError, match=sentence):
        choose_emotions(EIGHT, ["happy", other])


def test_eval_answers_only_the_emotions_that_can_occur(tmp_path):
    assert run_eval(FILE, "--emotions", "anger", "sad", cwd=tmp_path).returncode == 0
    (row,) = read_table(tmp_path / "out.csv")
    assert list(row) == ["url", "emotion", "confidence", "sad", "angry", "error"]
    assert row["sad"] + row["angry"] == pytest.approx(1, abs=1e-3)


def test_a_table_with_fewer_emotions_says_what_asking_for_these_would_change(tmp_path):
    names = ["bright_french.mp3", "flat_spanish.mp3", "deep_german.ogg", "even_male.flac"]
    emotions = ["angry", "sad", "sad", "angry"]
    rows = [f"{REPOSITORY / 'eval_data' / name},{emotion}" for name, emotion in zip(names, emotions, strict=True)]
    (tmp_path / "truth.csv").write_text("\n".join(["path,emotion", *rows]))
    said = run_eval("--labels", "truth.csv", cwd=tmp_path).stdout
    answers = [row["sad"] > row["angry"] for row in read_table(tmp_path / "out.csv")]
    right = np.equal(answers, np.equal(emotions, "sad"))
    recalls = [right[np.equal(emotions, emotion)].mean() for emotion in ("sad", "angry")]
    assert f"if only these could be answered: {np.mean(recalls):.2f} (--emotions sad angry)" in said
