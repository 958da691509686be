"""The network for unseen voices: what it embeds, and what its head is fitted to."""

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import soundfile
import torch
from conftest import shrunk, small_any_voice
from scipy.special import log_softmax, logsumexp
from sklearn.preprocessing import StandardScaler

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings, WhisperEncoder
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.features import WhisperFeatures
from speech_emotion.training import any_voice_head
from speech_emotion.training.any_voice import train_head
from speech_emotion.training.any_voice_head import (
    Corpus,
    HeadSettings,
    Rows,
    TeachingSettings,
    fit,
    fit_linear,
    fit_perceptron,
    mixup_loss,
    rows_of,
    set_statistics,
    taught,
)


def test_only_heard_frames_count():
    network = small_any_voice(EMOTIONS).network.for_inference()
    loud = 0.1 * torch.randn(1, 80, 300)
    loud[:, :, 100:] = loud.amin() - 4  # 160 dB below
    x = network.embed(loud)
    state = network.encoder(loud)[0][:, :50]
    torch.testing.assert_close(x, torch.cat([state.mean(1), state.std(1, correction=0)], 1), atol=1e-4, rtol=1e-4)


def test_the_perceptron_learns_what_no_line_separates():
    rng = np.random.default_rng(0)
    settings = AnyVoiceSettings(2, n_blocks=1, width=64, hidden=32, input_dropout=0.0)
    network = AnyVoice(settings, WhisperFeatures())
    x = torch.from_numpy(rng.normal(size=(1, 600, settings.n_embedding))).float()
    x[:, :, 2:] = 0
    emotions = np.where(x[0, :, 0] * x[0, :, 1] > 0, "happy", "sad")
    corpus = Corpus(x, emotions, np.arange(600).astype(str), None)
    fit(network, [corpus], ["happy", "sad"], HeadSettings(hidden=32, epochs=60, learning_rate=1e-2))
    standard = network.standardise(x[0])
    for classifier, least, most in ((network.linear, 0, 0.65), (network.perceptron, 0.9, 1), (network, 0.9, 1)):
        logits = network.classify(x[0]) if classifier is network else classifier(standard)
        right = (np.array(["happy", "sad"])[logits.argmax(dim=1)] == emotions).mean()
        assert least <= right <= most


def test_the_temperature_is_fitted_on_speakers_that_the_head_has_not_seen(tmp_path):
    """Each speaker has one emotion, so a seen voice gives it away, and an unseen one says nothing."""
    rng, time = np.random.default_rng(0), np.arange(16_000) / 16_000
    rows = []
    for speaker, emotion in enumerate(["happy", "sad", "sad", "happy", "sad", "happy", "happy", "sad"]):
        for take in range(4):
            path = tmp_path / f"{speaker}-{take}.wav"
            buzz = np.sign(np.sin(2 * np.pi * (120 + 60 * speaker + take) * time))
            soundfile.write(path, 0.1 * buzz + rng.normal(scale=0.01, size=16_000), 16_000)
            rows.append({"clip": path.stem, "path": str(path), "emotion": emotion, "speaker": str(speaker)})
    clips = pd.DataFrame(rows)
    torch.manual_seed(0)
    encoder = WhisperEncoder(n_blocks=1, n_positions=150, width=64).eval()
    settings = HeadSettings(copies=0, hidden=0, with_nemo=False)
    by_speaker, by_clip = (
        train_head(table, [table], ["happy", "sad"], settings, encoder, torch.device("cpu"), tmp_path).temperature
        for table in (clips, clips.drop(columns="speaker"))
    )
    assert by_speaker > 10 and by_clip < 0.1


LABELS = ["neutral", "calm", "happy", "sad"]
OTHER_WEIGHT = 0.3


def corpora() -> list[Corpus]:
    """Three copies of eight clips by three speakers, two of six by two others without calm, one of four by nobody."""
    rng = np.random.default_rng(0)
    makers = [
        (3, "neutral calm happy sad happy happy calm neutral", "a b b c c c d e", "x x x y y z z z", 0.0),
        (2, "neutral neutral happy happy happy neutral", "f g h i i j", "u u u u v v", 2.0),
        (1, "sad happy sad sad", "k l m n", None, -1.0),
    ]
    made = []
    for copies, emotions, clips, speakers, mean in makers:
        emotions = np.array(emotions.split())
        x = rng.normal(mean, 1.5, size=(copies, len(emotions), 128))
        speakers = None if speakers is None else np.array(speakers.split())
        made.append(Corpus(torch.from_numpy(x).half(), emotions, np.array(clips.split()), speakers))
    return made


@pytest.fixture
def network() -> AnyVoice:
    return small_any_voice(LABELS).network


def test_every_copy_is_a_row_by_global_statistics_and_one_by_its_speakers(network):
    first, second, third = corpora()
    clean = [corpus.embeddings[0].double().numpy() for corpus in (first, second, third)]
    # Those of a recording count as much as one.
    windows = [np.array([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1, 1]), np.array([1, 1, 1, 1 / 2, 1 / 2, 1]), np.ones(4)]
    shares = [1, OTHER_WEIGHT, OTHER_WEIGHT]
    of_clip = [share * weights / weights.sum() for share, weights in zip(shares, windows, strict=True)]
    scaler = StandardScaler().fit(np.concatenate(clean), sample_weight=np.concatenate(of_clip))
    mean, deviation = scaler.mean_, np.sqrt(scaler.var_) + 1e-3
    right = dict(zip(LABELS, np.eye(4).tolist(), strict=True))
    maybe_calm = right | {"neutral": [1.0, 1.0, 0.0, 0.0]}
    x, allowed, masks, weights = [], [], [], []
    for number, (corpus, allows, mask) in enumerate(
        [(first, right, [0, 0, 0, 0]), (second, maybe_calm, [0, 0, 0, -1e4]), (third, right, [-1e4, -1e4, 0, 0])]
    ):
        of_emotion = [windows[number][corpus.emotions == emotion].sum() for emotion in corpus.emotions]
        balanced = windows[number] / np.maximum(1, of_emotion)
        for copy in corpus.embeddings.double().numpy():
            views = [(copy - mean) / deviation]
            if corpus.speakers is not None:
                views.append(np.empty_like(copy))
                for speaker in {*corpus.speakers}:
                    own = corpus.speakers == speaker
                    m, d = shrunk(clean[number][own], network.settings.shrinkage, mean, deviation)
                    views[1][own] = (copy[own] - m) / d
            for view in views:
                x.extend(view)
                allowed += [allows[emotion] for emotion in corpus.emotions]
                masks += [mask] * len(view)
                weights.extend(shares[number] * balanced / balanced.sum() / len(corpus.embeddings))
    set_statistics(network, corpora(), OTHER_WEIGHT)
    rows = rows_of(network, corpora(), LABELS, OTHER_WEIGHT)
    assert rows.x.shape == (8 * 3 * 2 + 6 * 2 * 2 + 4, 128)
    np.testing.assert_allclose(rows.x, x, atol=2e-3)
    assert rows.allowed.tolist() == allowed and rows.mask.tolist() == masks
    np.testing.assert_allclose(rows.weights, np.array(weights) / sum(weights), rtol=1e-5)


def random_rows(n: int, seed: int) -> Rows:
    """Of two corpora; the second lacks the last emotion and does not tell the first two apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    allowed, mask = np.eye(4)[labels], np.zeros((n, 4))
    mask[n // 2 :, 3] = -1e4
    allowed[n // 2 :] = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])[rng.integers(2, size=n - n // 2)]
    weights = rng.uniform(1, 2, size=n)
    parts = rng.normal(size=(n, 5)), allowed, mask, weights / weights.sum()
    return Rows(*(torch.from_numpy(part).float() for part in parts))


def smoothed_loss(logits: np.ndarray, rows: Rows, smoothing: float) -> float:
    """Cross entropy, of which a share is with the mean of the emotions that a corpus has."""
    allowed, mask, weights = (part.double().numpy() for part in (rows.allowed, rows.mask, rows.weights))
    p = log_softmax(np.where(mask == 0, logits, -np.inf), axis=1)
    losses = (1 - smoothing) * logsumexp(p, b=allowed, axis=1) + smoothing * p.mean(axis=1, where=mask == 0)
    return -weights @ losses


def test_mixup_blends_the_inputs_and_the_losses_of_both_labels(monkeypatch):
    monkeypatch.setattr(any_voice_head, "autocast", lambda device: nullcontext())
    one, other = random_rows(12, 0), random_rows(12, 1)
    perceptron = torch.nn.Linear(5, 4)
    weight, bias = perceptron.weight.detach().double().numpy(), perceptron.bias.detach().double().numpy()
    for share, smoothing in ((0.7, 0.1), (0.2, 0.0)):
        logits = (share * one.x.numpy() + (1 - share) * other.x.numpy()) @ weight.T + bias
        expected = share * smoothed_loss(logits, one, smoothing) + (1 - share) * smoothed_loss(logits, other, smoothing)
        loss = mixup_loss(perceptron, one, other, share, smoothing)
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_fit_finds_the_least_loss_of_these_rows(network):
    settings = HeadSettings(other_weight=0.6, iterations=500, epochs=1, weight_decay=0.05)
    perceptron = deepcopy(network.perceptron)
    fit(network, corpora(), LABELS, settings)
    mean, deviation = network.mean.clone(), network.deviation.clone()
    set_statistics(network, corpora(), 0.6)
    assert torch.equal(network.mean, mean) and torch.equal(network.deviation, deviation)
    rows = rows_of(network, corpora(), LABELS, 0.6)
    penalty = 0.05 / 2 * network.linear.weight.square().sum()
    gradients = torch.autograd.grad(rows.loss(network.linear(rows.x)).sum() + penalty, network.linear.parameters())
    assert max(gradient.abs().max() for gradient in gradients) < 1e-4
    fit_perceptron(perceptron, rows, settings)
    torch.testing.assert_close(network.perceptron.state_dict(), perceptron.state_dict())


@pytest.mark.parametrize(("penalised", "penalty"), [(("weight", "bias"), 0.3), (("weight",), 0.05)])
def test_the_prior_is_around_the_weights_before_the_fit(penalised, penalty):
    """The oracle is scipy's minimiser."""
    rows, linear = random_rows(12, 0), torch.nn.Linear(5, 4)
    before = np.c_[linear.weight.detach().numpy(), linear.bias.detach().numpy()].astype(float)
    counted = np.ones_like(before) if "bias" in penalised else np.r_[[1.0] * 5, 0.0]

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(4, 6)
        logits = rows.x.double().numpy() @ weights[:, :5].T + weights[:, 5]
        return smoothed_loss(logits, rows, 0.0) + penalty / 2 * (counted * (weights - before) ** 2).sum()

    fit_linear(linear, rows, penalty, penalised, iterations=300)
    found = np.c_[linear.weight.detach().numpy(), linear.bias.detach().numpy()]
    oracle = scipy.optimize.minimize(loss, before.ravel(), method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12})
    np.testing.assert_allclose(found - found.mean(axis=0), (w := oracle.x.reshape(4, 6)) - w.mean(axis=0), atol=2e-3)


def teachers(n: int = 24, labels: tuple[str, ...] = ("happy", "sad", "bored")) -> tuple[Checkpoint, Corpus]:
    """A model of LABELS, and clips of other statistics in which the first value tells the labels apart."""
    emotions = np.array(labels)[np.arange(n) % len(labels)]
    x = np.random.default_rng(0).normal(2, 3, size=(1, n, 128))
    x[0, :, 0] += 30 * (np.arange(n) % len(labels))
    return small_any_voice(LABELS), Corpus(torch.from_numpy(x).float(), emotions, np.arange(n).astype(str), None)


def test_with_a_huge_penalty_the_taught_model_answers_as_the_committed_one():
    """Apart from the statistics, which are those of the clips, shrunk as --adapt does it; for the labels asked for."""
    start, corpus = teachers(labels=("neutral", "calm", "sad"))
    labels = ["neutral", "calm", "sad"]
    x = corpus.embeddings[0]
    network = taught(start, corpus, labels, TeachingSettings(penalty=1e9, perceptron_clips=1e9))
    adapted = start.network.classify(x, start.network.statistics(x).expand(len(x), -1, -1)).detach()
    kept = adapted[:, [LABELS.index(label) for label in labels]]
    torch.testing.assert_close(network.classify(x).softmax(1), kept.softmax(1), atol=1e-4, rtol=1e-3)


def test_neutral_without_calm_is_the_mean_of_both_and_a_new_label_starts_from_nothing():
    start, corpus = teachers(labels=("neutral", "happy", "bored"))
    labels = ["neutral", "happy", "bored"]
    network = taught(start, corpus, labels, TeachingSettings(penalty=1e9, perceptron_clips=1e9))
    before, after = start.network.linear.weight.detach(), network.linear.weight.detach()
    torch.testing.assert_close(after, torch.stack([before[:2].mean(0), before[2], torch.zeros(128)]), atol=1e-5, rtol=0)
    h = network.perceptron[:-1](torch.randn(5, 128))
    opinion = network.perceptron[-1](h)
    torch.testing.assert_close(opinion[:, 2], (start.network.perceptron[-1](h)[:, :3].mean(1)), atol=1e-5, rtol=1e-4)


def test_a_new_label_is_learned_and_more_clips_leave_the_perceptron_less_to_say():
    start, few = teachers(6)
    _, many = teachers(60)
    labels = ["happy", "sad", "bored"]
    for corpus in (few, many):
        network = taught(start, corpus, labels, TeachingSettings())
        answers = [labels[place] for place in network.classify(corpus.embeddings[0]).argmax(1)]
        assert answers == corpus.emotions.tolist()
        share = 10 / (10 + len(corpus.clips) / 3)
        old = start.network.perceptron[-1].weight[2].detach()
        torch.testing.assert_close(network.perceptron[-1].weight[0].detach(), share * old)
    blank = taught(replace(start, labels=[]), few, labels, TeachingSettings())
    assert blank.perceptron is None and blank.settings.hidden == 0
