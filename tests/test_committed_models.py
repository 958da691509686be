"""The checkpoints in the repository give the README's numbers; needs the real recordings under data/."""

import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.evaluation.metrics import accuracy, prediction_table
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings, WhisperFeatures
from speech_emotion.training.runs import recipe_of

MODELS = {
    "model.pt": ("random8-split0", 0.87, 491),
    "model_sad_removed.pt": ("random7-split0", 0.89, 416),
    "model_any_voice.pt": ("any8-split0", 0.87, 491),
}


def readme_accuracy(model: str) -> float:
    row = re.search(
        rf"^\| `{re.escape(model)}` \| \d+ \| ([\d.]+) \(", (REPOSITORY / "README.md").read_text(), re.MULTILINE
    )
    return float(row[1])


@pytest.mark.parametrize("model", MODELS)
def test_the_readme_has_the_number_of_the_committed_predictions(model):
    name, least, n_clips = MODELS[model]
    predictions = pd.read_csv(REPOSITORY / "results" / "predictions" / f"{name}.csv")
    assert len(predictions) == n_clips
    assert readme_accuracy(model) == round(accuracy(predictions), 4) >= least
    assert set(load_checkpoint(REPOSITORY / model).split["test"]) == set(predictions["clip"])


@pytest.mark.parametrize("model", MODELS)
def test_the_models_give_the_committed_predictions(model, ravdess):
    committed = pd.read_csv(REPOSITORY / "results" / "predictions" / f"{MODELS[model][0]}.csv")[::6]
    clips = ravdess[ravdess["clip"].isin(committed["clip"])]
    # A test clip or two are shouts that do not count as speech by default.
    predictor = Predictor(REPOSITORY / model, "cpu", speech_only=False)
    assert predictor.labels == [emotion for emotion in EMOTIONS if emotion in predictor.labels]
    measured = prediction_table(clips, predictor.predict(clips["path"]))
    assert measured["clip"].tolist() == committed["clip"].tolist() and len(measured) > 60
    np.testing.assert_allclose(measured[predictor.labels], committed[predictor.labels], atol=1e-3)


# Settings that model_any_voice.pt is older than; their values were constants then. Empty once it is trained anew.
NEWER = {"shortest_rt60_s", "direct_to_reverberant_db", "noise_colour_db", "noise_swell_db", "band_limit_hz",
         "gate_depth_db"}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_the_committed_models_are_of_the_default_recipes(model):
    checkpoint = load_checkpoint(REPOSITORY / model)
    recipe = recipe_of("any-voice" if model == "model_any_voice.pt" else "cnn")
    settings = asdict(recipe.published_settings(shuffle_labels=False, spoken=False))
    if model == "model_any_voice.pt":
        settings["augmentation"] = {k: v for k, v in settings["augmentation"].items() if k not in NEWER}
        network = AnyVoice(AnyVoiceSettings(8), WhisperFeatures())
    else:
        network = EmotionCNN.for_features(FeatureSettings(), len(checkpoint.labels))
    assert checkpoint.training == settings
    assert checkpoint.features == network.features
    assert asdict(checkpoint.network.settings) == asdict(network.settings)


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_is_small_enough_to_commit(model):
    assert (REPOSITORY / model).stat().st_size < (40e6 if model == "model_any_voice.pt" else 15e6)
