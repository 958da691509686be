"""The parts of the CNN's training, each against a second calculation in numpy."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from linear_network import LinearNetwork
from torch import nn

from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models.features import FeatureSettings
from speech_emotion.training import cnn
from speech_emotion.training.augment import AugmentationSettings
from speech_emotion.training.cnn import EmotionCNNRecipe, TrainingSettings, train

LABELS = ["calm", "happy", "sad", "angry"]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_mixup_blends_views_and_labels_in_the_same_pairs():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(2, 5, 3, 4)), np.eye(4)[[0, 1, 2, 3, 1]]
    torch.manual_seed(3)
    mixed, soft = cnn._mix(torch.from_numpy(inputs), torch.from_numpy(labels), 0.2, torch.Generator().manual_seed(4))
    torch.manual_seed(3)
    share = torch.distributions.Beta(0.2, 0.2).sample().item()
    other = torch.randperm(5, generator=torch.Generator().manual_seed(4)).numpy()
    assert (other != np.arange(5)).any() and 0 < share < 1
    for clip in range(5):
        for view in range(2):
            expected = share * inputs[view, clip] + (1 - share) * inputs[view, other[clip]]
            np.testing.assert_allclose(mixed[view, clip], expected)
        np.testing.assert_allclose(soft[clip], share * labels[clip] + (1 - share) * labels[other[clip]])


def test_the_loss_is_the_mean_of_views_and_clips_with_smoothed_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 5, 4)) * 3, rng.dirichlet(np.ones(4), size=5)
    smoothed = 0.9 * labels + 0.1 / 4
    losses = [-smoothed[clip] @ log_softmax(logits[view, clip]) for view in range(2) for clip in range(5)]
    loss = cnn._loss(torch.from_numpy(logits), torch.from_numpy(labels), 0.1)
    assert loss.item() == pytest.approx(np.mean(losses))


def test_the_average_forgets_the_faster_the_earlier_it_is():
    network, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    average.weight.data.fill_(0.0)
    expected = {"weight": 0.0, "running_mean": 0.0}
    for step in range(1, 41):
        values = {"weight": float(step), "running_mean": 10.0 / step}
        network.weight.data.fill_(values["weight"])
        network.running_mean.fill_(values["running_mean"])
        network.num_batches_tracked.fill_(step)
        cnn._update_average(average, network, step, 0.7)
        decay = min(0.7, step / (step + 10))
        expected = {name: decay * expected[name] + (1 - decay) * values[name] for name in values}
        assert average.weight.item() == pytest.approx(expected["weight"])
        assert average.running_mean.item() == pytest.approx(expected["running_mean"])
        assert average.num_batches_tracked == step


def test_the_shares_of_emotions_are_those_of_the_clips_and_of_none_that_of_one():
    shares = cnn._log_shares(torch.tensor([1, 1, 1, 0, 3, 1, 3, 1]), 4).exp()
    np.testing.assert_allclose(shares, np.array([1, 5, 1, 2]) / 8)


def rates(schedule: str, epochs: int, n_batches: int) -> np.ndarray:
    """The learning rate of every step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-2)
    settings = TrainingSettings(epochs=epochs, learning_rate=1e-2, schedule=schedule)
    scheduler, found = cnn._scheduler(optimizer, settings, n_batches), []
    for _ in range(epochs * n_batches):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array([*found, optimizer.param_groups[0]["lr"]])


def test_one_cycle_rises_for_15_percent_of_the_run_and_falls_along_a_cosine():
    found, peak = rates("one_cycle", epochs=20, n_batches=10), 0.15 * 201 - 1
    low, high, last = 1e-2 / 20, 1e-2, 1e-2 / 20 / 1e3
    for step, rate in enumerate(found):
        start, end, done = (low, high, step / peak) if step <= peak else (high, last, (step - peak) / (200 - peak))
        assert rate == pytest.approx(end + (start - end) * (1 + np.cos(np.pi * done)) / 2)


def test_warm_restarts_come_after_a_seventh_and_three_sevenths_of_the_run():
    found = rates("cosine_warm_restarts", epochs=7, n_batches=10)
    assert (np.flatnonzero(np.diff(found) > 0) + 1).tolist() == [11, 33]
    assert found[[0, 11, 33]] == pytest.approx(1e-2)
    np.testing.assert_allclose(found[:11], 1e-2 * (1 + np.cos(np.pi * np.arange(11) / 11)) / 2)


def test_weights_decay_and_biases_and_normalisation_do_not():
    network = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Linear(3, 2))
    decayed, others = cnn._parameter_groups(network, 0.3)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(network[0].weight), id(network[2].weight)]
    rest = network[0].bias, network[1].weight, network[1].bias, network[2].bias
    assert [id(p) for p in others["params"]] == [id(p) for p in rest]


class Linear(LinearNetwork):
    """Keeps what it is shown."""

    n_views = 2

    def __init__(self, settings, features):
        super().__init__(settings, features)
        self.shown = []

    @classmethod
    def for_features(cls, features, n_classes):
        cls.made = super().for_features(features, n_classes)
        return cls.made

    def logits_of_views(self, views):
        self.shown.append(views)
        return torch.stack([self(view) for view in views])


@pytest.fixture
def spectrograms(monkeypatch) -> torch.Tensor:
    """Of 22 clips, without a file; they are calculated with in single precision, whatever the processor has."""
    features = FeatureSettings(n_mels=16, n_mfcc=16)
    wide = torch.randn(22, 16, features.n_frames + 50, generator=torch.Generator().manual_seed(0)) * 10 - 40

    def log_mels(clips, front_end, margin_s, folder):
        assert margin_s in (0.0, cnn.MARGIN_S)
        chosen = wide[clips["clip"].to_numpy()]
        return (chosen if margin_s else chosen[:, :, 25:-25]).half()

    monkeypatch.setattr(cnn, "log_mels", log_mels)
    monkeypatch.setattr(cnn, "autocast", lambda device: nullcontext())
    return wide


OFF = AugmentationSettings(
    warp_frequency=0, warp_time=0, shift_s=0, channel_probability=0, gate_probability=0, mask_bands=0, mask_frames=0
)
CLIPS = pd.DataFrame({"clip": np.arange(22), "emotion": ["happy"] * 12 + ["sad"] * 7 + ["angry"] * 3})


def trained(settings: TrainingSettings, validation: pd.DataFrame = CLIPS):
    features = FeatureSettings(n_mels=16, n_mfcc=16)
    return train(CLIPS, validation, LABELS, settings, features, torch.device("cpu"), "nowhere", Linear)


def test_without_a_learning_rate_the_numbers_are_those_of_the_first_weights(spectrograms):
    """Both parts have the same clips: what training says of them is what validation says."""
    settings = TrainingSettings(
        epochs=2, batch_size=8, learning_rate=0.0, label_smoothing=0.0, mixup=0.0, augmentation=OFF, seed=5
    )
    checkpoint, history = trained(settings)
    torch.manual_seed(5)
    first = LinearNetwork.for_features(checkpoint.network.features, 4)
    targets = np.array([LABELS.index(emotion) for emotion in CLIPS["emotion"]])
    with torch.no_grad():
        window = spectrograms[:, :, 25:-25].half().float()
        logits = first(first.front_end.from_log_mel(window)).double().numpy()
    loss = -log_softmax(logits)[np.arange(22), targets].mean()
    accuracy = (logits.argmax(axis=1) == targets).mean()
    for row in history.to_dict("records"):
        assert row["validation_loss"] == pytest.approx(loss, rel=1e-4)
        assert row["training_loss"] == pytest.approx(loss, rel=1e-4)
        assert [row["validation_accuracy"], row["training_accuracy"]] == pytest.approx([accuracy] * 2)
    assert history["epoch"].tolist() == [1, 2]
    assert checkpoint.temperature == fit_temperature(torch.from_numpy(logits), torch.from_numpy(targets))
    # The more clips an emotion had, the more its logit loses; calm had none.
    shift = -checkpoint.temperature * np.log(np.array([1, 12, 7, 3]) / 22)
    np.testing.assert_allclose((checkpoint.network.layer.bias - first.layer.bias).detach(), shift, rtol=1e-4)
    assert [len(views[0]) for views in Linear.made.shown] == [11, 11] * 2


def test_every_epoch_shows_every_clip_once_in_a_new_order_and_each_view_is_changed_anew(spectrograms):
    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=0.0, mixup=0.0, augmentation=OFF)
    trained(settings)
    epochs = torch.cat(Linear.made.shown, dim=1).split(22, dim=1)
    orders = [epoch[0].mean(dim=(1, 2)) for epoch in epochs]
    torch.testing.assert_close(*(order.sort().values for order in orders))
    assert not torch.equal(*orders)
    assert all(torch.equal(*epoch) for epoch in epochs)
    trained(TrainingSettings(epochs=1, batch_size=64, learning_rate=0.0, mixup=0.0))
    (views,) = Linear.made.shown
    assert views.shape[1] == 22 and not torch.equal(*views)


def test_the_weights_are_the_average_over_the_steps_of_adamw(spectrograms):
    settings = TrainingSettings(
        epochs=3, batch_size=8, learning_rate=0.05, weight_decay=0.4, mixup=0.0, ema_decay=0.12, augmentation=OFF
    )
    checkpoint, _ = trained(settings)
    found, shown = checkpoint.network, Linear.made.shown
    torch.manual_seed(0)
    expected = nn.Linear(16, 4)
    average = {name: value.clone() for name, value in expected.state_dict().items()}
    weights, biases = {"params": [expected.weight], "weight_decay": 0.4}, {"params": [expected.bias], "weight_decay": 0}
    optimizer = torch.optim.AdamW([weights, biases], lr=0.05)
    schedule = cnn._scheduler(optimizer, settings, n_batches=2)
    mfcc = found.front_end.from_log_mel(spectrograms[:, :, 25:-25].half().float())
    targets = torch.tensor([LABELS.index(emotion) for emotion in CLIPS["emotion"]])
    for step, views in enumerate(shown, start=1):
        which = torch.cdist(views[0].flatten(1), mfcc.flatten(1)).argmin(dim=1)
        logits = expected(mfcc[which].mean(dim=2) / 100)
        expected.zero_grad()
        nn.functional.cross_entropy(logits, targets[which], label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()
        decay = min(0.12, step / (step + 10))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in expected.state_dict().items()}
    assert len(shown) == 6
    torch.testing.assert_close(found.layer.weight.data, average["weight"], atol=1e-4, rtol=1e-3)
    shift = -checkpoint.temperature * cnn._log_shares(targets, 4)
    torch.testing.assert_close(found.layer.bias.data, average["bias"] + shift, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("kind", "has_mkldnn", "has_bfloat16", "enabled"), [
    ("cpu", True, True, True), ("cpu", True, False, False), ("cpu", False, True, False), ("cuda", False, True, True),
    ("cuda", True, False, False), ("mps", True, True, False),
])  # fmt: skip
def test_bfloat16_is_used_where_the_hardware_multiplies_it(monkeypatch, kind, has_mkldnn, has_bfloat16, enabled):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: has_mkldnn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_bfloat16, raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bfloat16)
    monkeypatch.setattr(torch, "autocast", lambda *arguments, enabled: (*arguments, enabled))
    assert cnn.autocast(torch.device(kind)) == (kind, torch.bfloat16, enabled)


def test_every_setting_reaches_the_function_that_it_is_for(spectrograms, monkeypatch):
    given = {}
    for name in ("_parameter_groups", "_mix", "_loss", "_update_average"):
        original = getattr(cnn, name)

        def spy(*arguments, name=name, original=original):
            given.setdefault(name, []).append([each for each in arguments if isinstance(each, (int, float))])
            return original(*arguments)

        monkeypatch.setattr(cnn, name, spy)
    trained(
        TrainingSettings(epochs=2, batch_size=11, weight_decay=0.07, mixup=0.4, label_smoothing=0.03, ema_decay=0.6)
    )
    assert given == {
        "_parameter_groups": [[0.07]],
        "_mix": [[0.4]] * 4,
        "_loss": [[0.03]] * 4,
        "_update_average": [[step, 0.6] for step in (1, 2, 3, 4)],
    }


def test_the_settings_of_a_run_are_the_published_ones_with_the_given_options():
    nothing = {"data": "data", "spoken": False, "shuffle_labels": False}
    for given, settings in (
        ({}, TrainingSettings()),
        ({"seed": 3, "schedule": "cosine_warm_restarts"}, TrainingSettings(seed=3, schedule="cosine_warm_restarts")),
        ({"shuffle_labels": True}, TrainingSettings(epochs=30)),
        ({"shuffle_labels": True, "epochs": 2}, TrainingSettings(epochs=2)),
    ):
        assert EmotionCNNRecipe.from_options(**nothing | given).settings == settings
    assert EmotionCNNRecipe.published_settings() == TrainingSettings()
