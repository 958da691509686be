import os

import hostile_checkpoints
import pytest
import torch
from hostile_checkpoints import altered, nested

from speech_emotion.models.checkpoint import Checkpoint, CheckpointError, check_plain, load_checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    features = FeatureSettings(n_mfcc=20)
    network = EmotionCNN.for_features(features, 3, channels=(32, 64, 96, 192)).eval()  # not the default ones
    checkpoint = Checkpoint(
        network, ["calm", "happy", "sad"], temperature=1.5, split={"held_out": ["03-01-01-01-01-01-01"]}
    )
    save_checkpoint(tmp_path / "model.pt", checkpoint)
    return checkpoint, tmp_path / "model.pt"


def test_what_was_saved_comes_back(saved):
    before, path = saved
    after = load_checkpoint(path)
    assert (after.labels, after.features, after.temperature) == (before.labels, before.features, 1.5)
    assert after.network.settings == before.network.settings
    assert after.split == before.split and after.versions == before.versions
    assert str(torch.__version__).startswith(after.versions["torch"])
    assert not after.network.training
    inputs = torch.randn(2, 20, before.features.n_frames)
    torch.testing.assert_close(after.network(inputs), before.network(inputs))
    assert os.listdir(path.parent) == ["model.pt"]


DAMAGES = [damage for name, damage in sorted(vars(hostile_checkpoints).items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_other_file_is_refused_in_one_sentence_and_runs_nothing(saved, damage, monkeypatch):
    _, path = saved
    monkeypatch.chdir(path.parent)
    damage(path)
    with pytest.raises(CheckpointError, match="model.pt") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not (path.parent / "exploded").exists()


@pytest.mark.parametrize("version", ["x" * 100, nested(34), {1: nested(34)}, None, True, 1.0], ids=type)
def test_a_foreign_version_is_not_printed(saved, version):
    _, path = saved
    altered(path, format_version=version)
    with pytest.raises(CheckpointError, match="has no known format version, this program reads"):
        load_checkpoint(path)


def test_a_version_of_another_year_is_named_and_a_path_is_printable(saved):
    _, path = saved
    altered(path, format_version="\x1b[2J")
    path = path.rename(path.with_name("\x1b[2J.pt"))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path.parent}/\\x1b[2J.pt has format version \\x1b[2J, ")


@pytest.mark.parametrize(
    "given", [[], {"a": [nested(22)]}, {"a": ["x" * 2**20] * 2**10}, {"a": 2**64}, {"a": {1}}, {"a": torch.zeros(1)}]
)
def test_what_is_said_about_a_model_is_plain_and_of_bounded_size(given):
    with pytest.raises(ValueError, match="plain|dict"):
        check_plain(given)
    check_plain(
        {"clips": ["a", "b"] * 10**5, "settings": {"rate": 0.1, "n": 3, "is": True, "of": None, "pair": (1, 2)}}
    )
