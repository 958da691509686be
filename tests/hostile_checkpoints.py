"""Checkpoints that are damaged, foreign, or made to hurt whoever loads them: what each `damage_` does to a good one."""

import os
import pickle
import zipfile
from dataclasses import asdict

import torch

from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN, ModelSettings
from speech_emotion.models.features import FeatureSettings, WhisperFeatures


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
