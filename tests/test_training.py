"""Training from scratch, on tones: its parts against a second calculation in numpy, and what it learns."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from speech_emotion.corpora.ravdess import EMOTIONS, clip_table
from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models.features import MFCC, FeatureSettings
from speech_emotion.training import cnn
from speech_emotion.training.augment import AugmentationSettings
from speech_emotion.training.cache import log_mels
from speech_emotion.training.cnn import SCHEDULES, TrainingSettings, learning_rates, mixup, target_indices, train

CPU = torch.device("cpu")
FEATURES = FeatureSettings(n_mels=16, n_mfcc=16)
OFF = AugmentationSettings(
    warp_frequency=0, warp_time=0, shift_s=0, channel_probability=0, gate_probability=0, mask_bands=0, mask_frames=0
)
PLAIN = TrainingSettings(batch_size=8, mixup=0.0, augmentation=OFF)
LABELS = ["calm", "happy", "sad", "angry"]


@pytest.fixture(scope="module")
def clips(tone_data):
    return clip_table(tone_data)


@pytest.fixture(scope="module")
def uneven(clips):
    """22 clips with many happy ones, few angry ones, and no calm one."""
    counts = {"happy": 12, "sad": 7, "angry": 3}
    parts = [clips[clips["emotion"] == emotion].head(count) for emotion, count in counts.items()]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


class Recorder(nn.Module):
    """One layer on the mean MFCC, which keeps what it is shown, in two views."""

    n_views = 2
    made: "Recorder"

    def __init__(self, features, n_classes):
        super().__init__()
        self.front_end, self.layer = MFCC(features), nn.Linear(features.n_mfcc, n_classes)
        self.shown = []

    @classmethod
    def for_features(cls, features, n_classes):
        cls.made = cls(features, n_classes)
        return cls.made

    def forward(self, inputs):
        return self.layer(inputs.mean(dim=2) / 100)

    def logits_of_views(self, views):
        self.shown.append(views)
        return torch.stack([self(view) for view in views])

    @torch.no_grad()
    def shift_logits(self, by):
        self.layer.bias += by


def mfccs(clips: pd.DataFrame, cache_dir) -> torch.Tensor:
    front_end = MFCC(FEATURES)
    return front_end.from_log_mel(log_mels(clips, front_end, 0.0, cache_dir).float())


def test_mixup_blends_views_and_labels_in_the_same_pairs():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(2, 5, 3, 4)), np.eye(4)[[0, 1, 2, 3, 1]]
    torch.manual_seed(3)
    mixed, soft = mixup(torch.from_numpy(inputs), torch.from_numpy(labels), 0.2, torch.Generator().manual_seed(4))
    torch.manual_seed(3)
    share = torch.distributions.Beta(0.2, 0.2).sample().item()
    partner = torch.randperm(5, generator=torch.Generator().manual_seed(4)).numpy()
    assert (partner != np.arange(5)).any() and 0 < share < 1
    np.testing.assert_allclose(mixed, share * inputs + (1 - share) * inputs[:, partner])
    np.testing.assert_allclose(soft, share * labels + (1 - share) * labels[partner])


def test_every_epoch_shows_every_clip_once_in_a_new_order_and_each_view_is_changed_anew(uneven, cache_dir):
    settings = replace(PLAIN, epochs=2, learning_rate=0.0)
    train(uneven, uneven, LABELS, settings, FEATURES, CPU, cache_dir, Recorder)
    epochs = torch.cat(Recorder.made.shown, dim=1).split(22, dim=1)
    orders = [epoch[0].mean(dim=(1, 2)) for epoch in epochs]
    torch.testing.assert_close(*(order.sort().values for order in orders))
    assert not torch.equal(*orders)
    assert all(torch.equal(*epoch) for epoch in epochs)
    settings = TrainingSettings(epochs=1, batch_size=64, learning_rate=0.0, mixup=0.0)
    train(uneven, uneven, LABELS, settings, FEATURES, CPU, cache_dir, Recorder)
    (views,) = Recorder.made.shown
    assert views.shape[1] == 22 and not torch.equal(*views)


def test_the_weights_are_the_average_over_the_steps_of_adamw(uneven, cache_dir, monkeypatch):
    """And a likelier emotion loses: log shares of the training clips, not of the held-out ones, are subtracted."""
    monkeypatch.setattr(cnn, "autocast", lambda device: nullcontext())  # whatever the processor has
    settings = replace(PLAIN, epochs=3, learning_rate=0.05, weight_decay=0.4, ema_decay=0.3, label_smoothing=0.03)
    held_out = uneven.tail(10)
    checkpoint, history = train(uneven, held_out, LABELS, settings, FEATURES, CPU, cache_dir, Recorder)
    inputs, targets = mfccs(uneven, cache_dir), target_indices(uneven["emotion"], LABELS)
    torch.manual_seed(0)
    expected = Recorder(FEATURES, 4)
    average = {name: value.clone() for name, value in expected.state_dict().items()}
    weights = {"params": [expected.layer.weight], "weight_decay": 0.4}
    optimizer = torch.optim.AdamW([weights, {"params": [expected.layer.bias], "weight_decay": 0}], lr=0.05)
    schedule = learning_rates(optimizer, settings, n_steps=6)
    for step, views in enumerate(Recorder.made.shown, start=1):
        which = torch.cdist(views[0].flatten(1), inputs.flatten(1)).argmin(dim=1)
        smoothed = 0.97 * nn.functional.one_hot(targets[which], 4) + 0.03 / 4
        optimizer.zero_grad()
        (-smoothed * expected(views[0]).log_softmax(dim=1)).sum(dim=1).mean().backward()
        optimizer.step()
        schedule.step()
        decay = min(0.3, step / (step + 10))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in expected.state_dict().items()}
    assert len(Recorder.made.shown) == 6
    torch.testing.assert_close(checkpoint.network.layer.weight.data, average["layer.weight"], atol=1e-4, rtol=1e-3)
    shift = -checkpoint.temperature * torch.tensor([1, 12, 7, 3]).div(22).log()
    bias = checkpoint.network.layer.bias.data
    torch.testing.assert_close(bias, average["layer.bias"] + shift, atol=1e-4, rtol=1e-3)
    # The curve and the temperature are those of the averaged weights, before that shift.
    with torch.no_grad():
        logits = checkpoint.network(mfccs(held_out, cache_dir)) - shift
    held_out_targets = target_indices(held_out["emotion"], LABELS)
    loss = nn.functional.cross_entropy(logits, held_out_targets).item()
    assert history["validation_loss"].iloc[-1] == pytest.approx(loss, rel=1e-3)
    assert checkpoint.temperature == pytest.approx(fit_temperature(logits, held_out_targets), rel=0.05)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_trains_and_the_same_seed_gives_the_same_network(clips, cache_dir, schedule):
    few = clips.iloc[::4]
    settings = TrainingSettings(epochs=1, batch_size=16, schedule=schedule)
    (first, history), (second, _) = (
        train(few, few, list(EMOTIONS), settings, FEATURES, CPU, cache_dir) for _ in range(2)
    )
    assert list(history.columns) == [
        "epoch", "training_loss", "training_accuracy", "validation_loss", "validation_accuracy",
    ]  # fmt: skip
    assert np.isfinite(history.to_numpy()).all()
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_loss_that_is_not_finite_ends_the_training_in_its_epoch(clips, cache_dir):
    settings = TrainingSettings(epochs=50, learning_rate=float("inf"))
    with pytest.raises(ValueError, match="the loss is nan in epoch [12]; nothing was written"):
        train(clips.head(16), clips.head(16), list(EMOTIONS), settings, FEATURES, CPU, cache_dir, Recorder)


def test_a_cache_is_used_unless_it_is_damaged_or_of_other_settings_or_clips(clips, tmp_path, capfd):
    few = clips.head(3)
    first = log_mels(few, MFCC(FEATURES), 0.0, tmp_path)
    assert first.shape == (3, 16, 151)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    for _ in range(2):
        assert torch.equal(first, log_mels(few, MFCC(FEATURES), 0.0, tmp_path))
    assert capfd.readouterr().err.count(f"{path} is damaged, and is computed again") == 1
    assert [*tmp_path.iterdir()] == [path]
    assert not torch.equal(first, log_mels(few, MFCC(replace(FEATURES, f_max=6_000.0)), 0.0, tmp_path))
    assert not torch.equal(first, log_mels(clips.tail(3), MFCC(FEATURES), 0.0, tmp_path))
    assert log_mels(few, MFCC(FEATURES), 0.5, tmp_path).shape == (3, 16, 201)
    assert len(list(tmp_path.iterdir())) == 4
