"""What is saved comes back; a checkpoint that is damaged, foreign, or made to hurt whoever loads it is refused."""

import os
import pickle
import zipfile
from dataclasses import asdict

import pytest
import torch

from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings, WhisperFeatures

FEATURES = FeatureSettings(n_mfcc=20)
LABELS = ["calm", "happy", "sad"]


def small_cnn(features: FeatureSettings = FEATURES, **settings) -> EmotionCNN:
    return EmotionCNN.for_features(features, 3, **{"channels": (8, 8), "n_embedding": 8} | settings).eval()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A good checkpoint."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "model.pt", Checkpoint(small_cnn(), LABELS, 1.5, split={"test": ["03-01"]}))
    return tmp_path / "model.pt"


def test_what_was_saved_comes_back(tmp_path):
    network = small_cnn(channels=(32, 64, 96, 192))  # not the default ones
    before = Checkpoint(network, LABELS, temperature=1.5, split={"test": ["03-01-01-01-01-01-01"]})
    save_checkpoint(tmp_path / "model.pt", before)
    after = load_checkpoint(tmp_path / "model.pt")
    assert (after.labels, after.features, after.temperature) == (LABELS, FEATURES, 1.5)
    assert after.network.settings == network.settings and not after.network.training
    assert after.split == before.split and after.versions == before.versions
    assert str(torch.__version__).startswith(after.versions["torch"])
    inputs = torch.randn(2, 20, FEATURES.n_frames)
    torch.testing.assert_close(after.network(inputs), network(inputs))
    assert os.listdir(tmp_path) == ["model.pt"]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def nested(n: int = 34) -> list:
    """Small in memory, and 2 ** n elements to whoever prints or counts it."""
    value = ["x"]
    for _ in range(n):
        value = [value, value]
    return value


def not_a_model(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")


def zip_bomb(path):
    """64 MB of zeros in 64 kB."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/999", bytes(2**26))


FILES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a model"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "another zip": not_a_model,
    "zip bomb": zip_bomb,
    "code": lambda path: torch.save({"format": Bomb()}, path),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "foreign": lambda path: torch.save({"state_dict": {}}, path),
    "tensor": lambda path: torch.save(torch.zeros(3), path),
}


def settings(features: FeatureSettings, **model) -> dict:
    """Settings without the network, whose weights nobody has."""
    with torch.device("meta"):
        network = small_cnn(**model)
    return {"features": asdict(features), "model": asdict(network.settings) | {"n_frames": features.n_frames}}


def gigantic_spectrum() -> dict:
    """Every number alone is one that a front end may have, and all weights are there."""
    features = FeatureSettings(n_mfcc=20, window_s=20, n_fft=2**14, hop_length=480)
    network = small_cnn(features)
    return {"features": asdict(features), "model": asdict(network.settings), "state_dict": network.state_dict()}


def weights_that_are_not_in_the_file(is_shared: bool) -> dict:
    """Tensors of any size may repeat one stored zero, or share one storage."""
    with torch.device("meta"):
        network = small_cnn(n_embedding=2**10)
    state = network.state_dict()
    store = torch.zeros(max(x.numel() for x in state.values()))
    for name, x in state.items():
        one_of_them = store[: x.numel()].view(x.shape) if is_shared else store[0].expand(x.shape)
        state[name] = one_of_them.to(x.dtype) if x.dtype.is_floating_point else torch.zeros((), dtype=x.dtype)
    return {"model": asdict(network.settings), "state_dict": dict(state)}


CHANGES = {  # of single entries of the good checkpoint
    "version": {"format_version": 99},
    "nested version": {"format_version": nested()},
    "foreign settings": {"features": {"sample_rate": 1, "colour": "blue"}},
    "nested setting": {"features": asdict(FEATURES) | {"f_min": nested()}},
    "gigantic Fourier transform": {"features": asdict(FeatureSettings(n_mfcc=20, n_fft=2**36))},
    "gigantic cosine transform": settings(FeatureSettings(n_mfcc=2**20)),
    "gigantic spectrum": gigantic_spectrum(),
    "dropout of NaN": {"model": asdict(small_cnn().settings) | {"dropout": float("nan")}},
    "many layers": {"model": asdict(small_cnn().settings) | {"channels": [1] * 1_000_000}},
    "many blocks": {
        "format": AnyVoice.kind,
        "model": asdict(AnyVoiceSettings(n_classes=3, n_blocks=10**6, width=64)),
        "features": asdict(WhisperFeatures()),
    },
    "no weights": {"state_dict": {}},
    "infinite weight": {
        "state_dict": small_cnn().state_dict() | {"spectral.classify.bias": torch.tensor([0.0, float("inf"), 0.0])}
    },
    "weights that are not in the file": weights_that_are_not_in_the_file(is_shared=False),
    "weights that share one storage": weights_that_are_not_in_the_file(is_shared=True),
    "temperature of 0": {"temperature": 0.0},
    "one label": {"labels": ["calm"]},
    "label twice": {"labels": ["calm", "sad", "sad"]},
    "label of a column": {"labels": ["calm", "url", "sad"]},
    "label with an escape": {"labels": ["calm", "\x1b[2J", "sad"]},
    "label that is a formula": {"labels": ["calm", "=1+1", "sad"]},
    "long label": {"labels": ["calm", "sad", "x" * 101]},
    "nested label": {"labels": ["calm", "sad", nested()]},
    "nested metrics": {"metrics": {"accuracy": nested()}},
    "tensor in the split": {"split": {"test": torch.zeros(3)}},
}


@pytest.mark.parametrize("damage", [*FILES, *CHANGES])
def test_every_other_file_is_refused_in_one_sentence_and_runs_nothing(path, damage):
    if damage in FILES:
        FILES[damage](path)
    else:
        torch.save(torch.load(path, weights_only=True) | CHANGES[damage], path)
    with pytest.raises(CheckpointError, match="model.pt") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert not (path.parent / "exploded").exists()


def test_a_version_of_another_year_is_named(path):
    torch.save(torch.load(path, weights_only=True) | {"format_version": 1}, path)
    with pytest.raises(CheckpointError, match="model.pt has format version 1, this program reads 2; train the model"):
        load_checkpoint(path)
