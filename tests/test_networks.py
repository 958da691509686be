"""What every network offers, and that another one needs no change elsewhere."""

import sys
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import ClassVar

import torch
from linear_network import LinearNetwork

from speech_emotion.commands.export import WindowClassifier
from speech_emotion.corpora.ravdess import clip_table
from speech_emotion.evaluation.metrics import prediction_table, uar
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.network import NETWORKS
from speech_emotion.training.cnn import EmotionCNNRecipe, TrainingSettings
from speech_emotion.training.runs import Run, carry_out, recipe_of


@dataclass(frozen=True)
class LinearNetworkRecipe(EmotionCNNRecipe):
    network: ClassVar = LinearNetwork
    split_prefix: ClassVar = "linear"
    fold_prefix: ClassVar = "linear"


def test_another_network_is_two_files_and_an_entry(tone_data, tmp_path, monkeypatch):
    module = ModuleType("speech_emotion.training.linear")
    module.LinearNetworkRecipe = LinearNetworkRecipe
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(NETWORKS, "linear", LinearNetwork)
    clips = clip_table(tone_data)
    recipe = recipe_of("linear")(TrainingSettings(epochs=30, learning_rate=0.03))
    outcome = carry_out(Run(recipe), clips, "cpu", tmp_path / ".cache")
    assert outcome.run.name == "linear8-split0-epochs30-learning_rate0.03" and outcome.run.file is None
    assert uar(outcome.predictions) > 0.5  # the pitch of these tones is the emotion
    outcome.write(tmp_path / "results", tmp_path / "linear.pt")
    assert len(list((tmp_path / "results").rglob("linear8-split0-*"))) == 4
    predictor = Predictor(tmp_path / "linear.pt", "cpu")
    assert isinstance(predictor.network, LinearNetwork) and asdict(predictor.network.settings)["n_mfcc"] == 64
    test = outcome.parts["test"]
    again = prediction_table(test, predictor.predict(test["path"]))
    assert again.round(5).equals(outcome.predictions.round(5))
    assert WindowClassifier(outcome.checkpoint)(torch.zeros(2, 144_000)).shape == (2, 8)
