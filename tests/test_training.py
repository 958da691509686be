from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.utils.flop_counter
from linear_network import LinearNetwork

from speech_emotion.corpora.ravdess import EMOTIONS, clip_table
from speech_emotion.corpora.splits import stratified_split
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import MFCC, FeatureSettings
from speech_emotion.training.augment import AugmentationSettings
from speech_emotion.training.cache import log_mels
from speech_emotion.training.cnn import SCHEDULES, TrainingSettings, train

CPU = torch.device("cpu")
FEATURES = FeatureSettings(n_mels=32, n_mfcc=32)
OFF = AugmentationSettings(
    warp_frequency=0, warp_time=0, shift_s=0, channel_probability=0, gate_probability=0, mask_bands=0, mask_frames=0
)


@pytest.fixture(scope="module")
def clips(tone_data):
    return clip_table(tone_data)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_the_network_can_learn_eight_clips_by_heart(clips, cache_dir):
    eight = clips.drop_duplicates("emotion")
    settings = TrainingSettings(epochs=80, mixup=0.0, label_smoothing=0.0, ema_decay=0.9, augmentation=OFF)
    checkpoint, history = train(eight, eight, list(EMOTIONS), settings, FEATURES, CPU, cache_dir)
    assert len(eight) == 8
    assert history["validation_accuracy"].iloc[-1] == 1.0
    assert history["validation_loss"].iloc[-1] < 0.5 * history["validation_loss"].iloc[0]
    assert checkpoint.labels == list(EMOTIONS) and not checkpoint.network.training


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_trains_and_the_same_seed_gives_the_same_network(clips, cache_dir, schedule):
    rest, held_out = stratified_split(clips, seed=0)
    settings = TrainingSettings(epochs=1, schedule=schedule)
    runs = [train(rest, held_out, list(EMOTIONS), settings, FEATURES, CPU, cache_dir) for _ in range(2)]
    (first, history), (second, _) = runs
    assert list(history.columns) == [
        "epoch", "training_loss", "training_accuracy", "validation_loss", "validation_accuracy",
    ]  # fmt: skip
    assert np.isfinite(history.to_numpy()).all()
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_an_emotion_is_not_more_likely_for_having_had_more_clips(clips, cache_dir):
    same = clips.iloc[[0] * 16].assign(emotion=["happy"] * 12 + ["sad"] * 4)  # nothing tells the two apart
    settings = TrainingSettings(epochs=60, batch_size=16, mixup=0.0, augmentation=OFF, ema_decay=0.9)
    checkpoint, _ = train(same, same, ["happy", "sad"], settings, FEATURES, CPU, cache_dir)
    (row,) = Predictor(checkpoint).predict(clips["path"].head(1))
    assert row["happy"] == pytest.approx(0.5, abs=0.05)


def test_an_unknown_schedule_and_no_epoch_are_refused():
    with pytest.raises(ValueError, match="schedule is 'linear', expected one of"):
        TrainingSettings(schedule="linear")
    with pytest.raises(ValueError, match="at least one epoch, not 0"):
        TrainingSettings(epochs=0)


def test_another_network_is_trained_by_the_same_loop(clips, cache_dir):
    two = clips[clips["emotion"].isin(["happy", "sad"])]
    settings = TrainingSettings(epochs=30, learning_rate=0.1, mixup=0.0, ema_decay=0.9, augmentation=OFF)
    checkpoint, history = train(two, two, ["happy", "sad"], settings, FEATURES, CPU, cache_dir, LinearNetwork)
    assert isinstance(checkpoint.network, LinearNetwork)
    assert history["validation_accuracy"].iloc[-1] > 0.9
    assert checkpoint.training["augmentation"]["mask_bands"] == 0


def test_a_loss_that_is_not_finite_ends_the_training_in_its_epoch(clips, cache_dir):
    settings = TrainingSettings(epochs=50, learning_rate=float("inf"))
    with pytest.raises(ValueError, match="the loss is nan in epoch [12]; nothing was written"):
        train(clips.head(16), clips.head(16), list(EMOTIONS), settings, FEATURES, CPU, cache_dir, LinearNetwork)


def test_a_damaged_cache_is_named_and_healed(clips, tmp_path, capfd):
    first = log_mels(clips.head(3), MFCC(FEATURES), 0.0, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    for _ in range(2):
        assert torch.equal(first, log_mels(clips.head(3), MFCC(FEATURES), 0.0, tmp_path))
    assert capfd.readouterr().err.count(f"{path} is damaged, and is computed again") == 1


def test_a_cache_of_other_settings_or_clips_is_not_used(clips, tmp_path):
    few = clips.head(3)
    first = log_mels(few, MFCC(FEATURES), 0.0, tmp_path)
    assert first.shape == (3, 32, 151)
    assert torch.equal(first, log_mels(few, MFCC(FEATURES), 0.0, tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    assert not torch.equal(first, log_mels(few, MFCC(replace(FEATURES, f_max=6_000.0)), 0.0, tmp_path))
    assert not torch.equal(first, log_mels(clips.tail(3), MFCC(FEATURES), 0.0, tmp_path))
    assert log_mels(few, MFCC(FEATURES), 0.5, tmp_path).shape == (3, 32, 201)
    assert len(list(tmp_path.iterdir())) == 4


def test_training_reads_each_clip_once(clips, tmp_path, monkeypatch):
    few = clips.head(16)
    settings = TrainingSettings(epochs=2)
    train(few, few, list(EMOTIONS), settings, FEATURES, CPU, tmp_path)
    monkeypatch.setattr("speech_emotion.training.cache.load_audio", None)
    train(few, few, list(EMOTIONS), settings, FEATURES, CPU, tmp_path)


def test_the_network_stays_within_its_budget():
    features = FeatureSettings()
    model = EmotionCNN.for_features(features, n_classes=8).eval()
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        assert model(torch.zeros(1, features.n_mfcc, features.n_frames)).shape == (1, 8)
    assert counter.get_total_flops() / 2 < 150e6
    assert sum(parameter.numel() for parameter in model.parameters()) < 2.5e6
