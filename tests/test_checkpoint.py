import os
import pickle
import zipfile
from dataclasses import asdict

import pytest
import torch

from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN, ModelSettings
from speech_emotion.models.limits import check_plain
from speech_emotion.models.mfcc import FeatureSettings
from speech_emotion.models.whisper import WhisperFeatures


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    features = FeatureSettings(n_mfcc=20)
    model = EmotionCNN(ModelSettings.for_features(features, n_classes=3), features).eval()
    checkpoint = Checkpoint(
        model, ["calm", "happy", "sad"], temperature=1.5, split={"held_out": ["03-01-01-01-01-01-01"]}
    )
    save_checkpoint(tmp_path / "model.pt", checkpoint)
    return checkpoint, tmp_path / "model.pt"


def test_what_was_saved_comes_back(saved):
    before, path = saved
    after = load_checkpoint(path)
    assert (after.labels, after.features, after.temperature) == (before.labels, before.features, 1.5)
    assert after.split == before.split and after.versions == before.versions
    assert str(torch.__version__).startswith(after.versions["torch"])
    assert not after.network.training
    inputs = torch.randn(2, 20, before.features.n_frames)
    torch.testing.assert_close(after.network(inputs), before.network(inputs))
    assert os.listdir(path.parent) == ["model.pt"]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def altered(path, **changes):
    content = torch.load(path, weights_only=True) | changes
    torch.save(content, path)


def damage_missing(path):
    path.unlink()


def damage_empty(path):
    path.write_bytes(b"")


def damage_text(path):
    path.write_text("not a model")


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def damage_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")


def damage_code(path):
    torch.save({"format": Bomb()}, path)


def damage_pickle(path):
    path.write_bytes(pickle.dumps(Bomb()))


def damage_foreign(path):
    torch.save({"state_dict": {}}, path)


def damage_tensor(path):
    torch.save(torch.zeros(3), path)


def damage_version(path):
    altered(path, format_version=99)


def damage_settings(path):
    altered(path, features={"sample_rate": 1, "colour": "blue"})


def damage_gigantic_fft(path):
    """Found by fuzzing: its window alone would take all memory."""
    altered(path, features=asdict(FeatureSettings(n_mfcc=20, n_fft=2**36)))


def damage_gigantic_cosine_transform(path):
    features = FeatureSettings(n_mfcc=2**36, n_mels=64)
    altered(path, features=asdict(features), model=asdict(ModelSettings.for_features(features, n_classes=3)))


def damage_dropout_of_nan(path):
    """Found by fuzzing: the network was made, and failed on the first recording."""
    settings = ModelSettings.for_features(FeatureSettings(n_mfcc=20), n_classes=3, dropout=float("nan"))
    altered(path, model=asdict(settings))


def damage_infinite_weight(path):
    weights = torch.load(path, weights_only=True)["state_dict"]
    weights["spectral.classify.bias"][0] = float("inf")
    altered(path, state_dict=weights)


def damage_label_twice(path):
    altered(path, labels=["calm", "sad", "sad"])


def damage_temperature(path):
    altered(path, temperature=0.0)


def damage_minute_temperature(path):
    """Every probability became NaN."""
    altered(path, temperature=1e-320)


def damage_label_of_a_column(path):
    altered(path, labels=["calm", "url", "sad"])


def damage_label_with_an_escape(path):
    altered(path, labels=["calm", "\x1b[2J", "sad"])


def damage_label_that_is_a_formula(path):
    altered(path, labels=["calm", "=1+1", "sad"])


def damage_blank_label(path):
    altered(path, labels=["calm", " ", "sad"])


def nested(n: int = 34) -> list:
    """Small in memory, and 2 ** n elements to whoever prints or counts it."""
    value = ["x"]
    for _ in range(n):
        value = [value, value]
    return value


def damage_nested_labels(path):
    altered(path, labels=nested())


def damage_labels_in_labels(path):
    altered(path, labels=["calm", "sad", nested()])


def damage_nested_version(path):
    altered(path, format_version=nested())


def damage_nested_format(path):
    altered(path, format=nested())


def damage_nested_setting(path):
    altered(path, features=asdict(FeatureSettings(n_mfcc=20)) | {"f_min": nested()})


def damage_nested_metrics(path):
    altered(path, metrics={"accuracy": nested()})


def damage_tensor_in_the_split(path):
    altered(path, split={"held_out": torch.zeros(3)})


def damage_long_label(path):
    altered(path, labels=["calm", "sad", "x" * 101])


def damage_weights_that_are_not_in_the_file(path):
    """Tensors of any size may share one stored zero."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    name = "spectral.classify.weight"
    altered(path, state_dict=weights | {name: torch.zeros(1).expand(weights[name].shape)})


def damage_weights_that_share_one_storage(path):
    weights = torch.load(path, weights_only=True)["state_dict"]
    store = torch.zeros(max(tensor.numel() for tensor in weights.values()))
    shared = {
        name: store[: tensor.numel()].view(tensor.shape) if tensor.dtype == torch.float32 else tensor
        for name, tensor in weights.items()
    }
    altered(path, state_dict=shared)


def damage_gigantic_spectrum(path):
    """Every number alone is one that a front end may have, and all weights are there."""
    features = FeatureSettings(n_mfcc=20, window_s=20, n_fft=2**14, hop_length=480)
    settings = ModelSettings.for_features(features, n_classes=3, channels=(1, 1), n_embedding=1)
    network = EmotionCNN(settings, features).eval()
    save_checkpoint(path, Checkpoint(network, ["calm", "happy", "sad"]))


def damage_many_layers(path):
    model = torch.load(path, weights_only=True)["model"]
    altered(path, model=model | {"channels": [1] * 1_000_000})


def damage_many_blocks(path):
    settings, features = AnyVoiceSettings(n_classes=3, n_blocks=10**7, width=64), WhisperFeatures()
    altered(path, format=AnyVoice.kind, model=asdict(settings), features=asdict(features))


def damage_bomb(path):
    """64 MB of zeros in 64 kB."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/999", bytes(2**26))


def damage_weights(path):
    altered(path, state_dict={})


def damage_labels(path):
    altered(path, labels=["calm"])


@pytest.mark.parametrize("damage", [f for name, f in sorted(globals().items()) if name.startswith("damage_")])
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
