"""The checkpoints in the repository give the README's numbers; needs the real recordings under data/."""

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

MODELS = {  # the run that trained it, the least accuracy on its test clips, the largest size in bytes
    "model.pt": ("random8-split0", 0.87, 15e6),
    "model_sad_removed.pt": ("random7-split0", 0.89, 15e6),
    "model_any_voice.pt": ("any8-split0", 0.87, 40e6),
}


def committed_predictions(model: str) -> pd.DataFrame:
    return pd.read_csv(REPOSITORY / "results" / "predictions" / f"{MODELS[model][0]}.csv")


@pytest.mark.parametrize("model", MODELS)
def test_a_committed_model_is_of_its_run_accurate_and_small(model):
    predictions, (_, least, largest) = committed_predictions(model), MODELS[model]
    assert accuracy(predictions) >= least
    assert set(load_checkpoint(REPOSITORY / model).split["test"]) == set(predictions["clip"])
    assert (REPOSITORY / model).stat().st_size < largest


@pytest.mark.parametrize("model", MODELS)
def test_the_models_give_the_committed_predictions(model, ravdess):
    committed = committed_predictions(model)[::6]
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
