"""The checkpoints in the repository give the README's numbers; needs the real recordings under data/."""

import re
import subprocess
import sys
from dataclasses import asdict

import pandas as pd
import pytest
from conftest import REPOSITORY

from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import EMOTIONS, check_table, clip_table
from speech_emotion.corpora.splits import stratified_split
from speech_emotion.evaluation.metrics import accuracy
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


@pytest.fixture(scope="module")
def ravdess():
    try:
        table = clip_table(REPOSITORY / "data")
    except NoDataError:
        pytest.skip("RAVDESS is not under data/")
    if check_table(table):
        pytest.skip("RAVDESS under data/ is not complete")
    return table


@pytest.mark.parametrize("model", MODELS)
def test_the_readme_has_the_number_of_the_committed_predictions(model):
    name, least, n_clips = MODELS[model]
    predictions = pd.read_csv(REPOSITORY / "results" / "predictions" / f"{name}.csv")
    assert len(predictions) == n_clips
    assert readme_accuracy(model) == round(accuracy(predictions), 4) >= least
    assert set(load_checkpoint(REPOSITORY / model).split["test"]) == set(predictions["clip"])


@pytest.mark.parametrize("model", MODELS)
def test_eval_reaches_the_number_of_the_readme(model, ravdess, tmp_path):
    labels = load_checkpoint(REPOSITORY / model).labels
    assert labels == [emotion for emotion in EMOTIONS if emotion in labels]
    _, test = stratified_split(ravdess[ravdess["emotion"].isin(labels)], seed=0)
    # --all-sounds: a test clip or two are shouts that do not count as speech by default.
    command = [sys.executable, REPOSITORY / "eval.py", *test["path"], "--model", REPOSITORY / model, "--all-sounds"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    measured = re.search(r"(\d+) recordings have RAVDESS names: accuracy ([\d.]+)", result.stdout)
    assert int(measured[1]) == MODELS[model][2]
    # Another processor may round a tie the other way: two clips of slack.
    assert float(measured[2]) == pytest.approx(readme_accuracy(model), abs=2.5 / len(test))


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


@pytest.mark.parametrize("model", ["model.pt", "model_sad_removed.pt"])  # test_any_voice.py has that of the other
def test_a_checkpoint_is_small_enough_to_commit(model):
    assert (REPOSITORY / model).stat().st_size < 15e6
