"""The network for strangers: statistics by hand, adaptation as users run it, and the training of its linear layer."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import REPOSITORY, read_rows, run_eval, small_any_voice
from sklearn.linear_model import LogisticRegression

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.inference.adaptation import Adaptation
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings, WhisperEncoder
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from speech_emotion.models.features import WhisperFeatures
from speech_emotion.training.any_voice import train_head
from speech_emotion.training.any_voice_head import Corpus, HeadSettings, Rows, fit, fit_linear, soft_targets

RECORDINGS = sorted(path for path in (REPOSITORY / "eval_data").iterdir() if path.suffix not in (".md", ".sh"))


@pytest.fixture(scope="module")
def small() -> AnyVoice:
    return small_any_voice(EMOTIONS).network


@pytest.fixture(scope="module")
def small_model(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("any-voice") / "small.pt"
    save_checkpoint(path, Checkpoint(small, list(EMOTIONS)))
    return path


def test_statistics_of_few_recordings_are_shrunk_towards_those_of_training(small):
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (100_000, small.settings.n_embedding))).float()
    mean, deviation = small.statistics(x)
    assert mean.mean() == pytest.approx(3, abs=0.01) and deviation.mean() == pytest.approx(2, abs=0.01)
    # Ten embeddings of 3 weigh as much as training, of mean 0 and deviation 1: mean 1.5, square (1 + 9) / 2.
    mean, deviation = small.statistics(torch.full((10, small.settings.n_embedding), 3.0))
    torch.testing.assert_close(mean, torch.full_like(mean, 1.5))
    torch.testing.assert_close(deviation, torch.full_like(deviation, (5 - 1.5**2) ** 0.5))


def test_only_heard_frames_count(small):
    network = small.for_inference()
    loud = 0.1 * torch.randn(1, 80, 300)
    loud[:, :, 100:] = loud.amin() - 4  # 160 dB below
    x = network.embed(loud)
    state = network.encoder(loud)[0][:, :50]
    torch.testing.assert_close(x, torch.cat([state.mean(1), state.std(1, correction=0)], 1), atol=1e-4, rtol=1e-4)


def test_the_training_statistics_are_the_default(small):
    x = torch.randn(3, small.settings.n_embedding)
    of_training = torch.stack([small.mean, small.deviation]).expand(3, 2, -1)
    torch.testing.assert_close(small.classify(x), small.classify(x, of_training))


def test_the_linear_layer_is_the_logistic_regression_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=200)
    x = rng.normal(size=(200, 5)) + y[:, None] * [1, 0, 0.5, 0, 0]
    settings = HeadSettings(weight_decay=0.01, iterations=500)
    linear = torch.nn.Linear(5, 3)
    allowed = torch.nn.functional.one_hot(torch.from_numpy(y), 3).float()
    rows = Rows(torch.from_numpy(x).float(), allowed, torch.zeros(200, 3), torch.full((200,), 1 / 200))
    torch.nn.init.zeros_(linear.weight)
    fit_linear(linear, rows, settings.weight_decay, ("weight",), settings.iterations)
    theirs = LogisticRegression(C=1 / (0.01 * 200), max_iter=2000, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(linear.weight.detach(), theirs.coef_, atol=2e-3)


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


def test_where_several_emotions_are_allowed_the_loss_is_of_their_sum():
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    p = logits[:, :3].softmax(dim=1)[0]  # the last is masked
    rows = Rows(torch.zeros(1, 1), torch.tensor([[1.0, 1, 0, 0]]), torch.tensor([[0, 0, 0, -1e4]]), torch.tensor([0.5]))
    torch.testing.assert_close(rows.loss(logits), -0.5 * (p[0] + p[1]).log()[None])
    smoothed = -0.5 * (0.8 * (p[0] + p[1]).log() + 0.2 * p.log().mean())
    torch.testing.assert_close(rows.loss(logits, label_smoothing=0.2), smoothed[None])


def test_a_corpus_without_calm_pushes_against_neither_calm_nor_what_it_lacks():
    allowed, mask = soft_targets(np.array(["neutral", "happy"]), ["neutral", "calm", "happy", "sad"])
    assert allowed.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0]]
    assert mask.tolist() == [0, 0, 0, -1e4]
    allowed, mask = soft_targets(np.array(["neutral", "calm"]), ["neutral", "calm"])
    assert allowed.tolist() == [[1, 0], [0, 1]] and mask.tolist() == [0, 0]


def test_adapted_rows_depend_neither_on_batches_nor_on_order(small_model):
    predictor = Predictor(small_model, "cpu")
    tables = []
    for batch_size, paths in ((1, RECORDINGS), (5, RECORDINGS[::-1])):
        adaptation = Adaptation(predictor, paths, batch_size=batch_size)
        rows = [answer.rows[0] for answer in predictor.answers(paths, batch_size, statistics=adaptation)]
        tables.append({row["url"]: [row[label] for label in EMOTIONS] for row in rows})
    plain = {row["url"]: [row[label] for label in EMOTIONS] for row in predictor.predict(RECORDINGS)}
    for url, probabilities in tables[0].items():
        assert probabilities == pytest.approx(tables[1][url], abs=5e-5)
    assert any(abs(np.subtract(tables[0][url], plain[url])).max() > 1e-3 for url in plain)


def test_eval_adapts_and_says_so(tmp_path):
    model = REPOSITORY / "model_any_voice.pt"
    result = run_eval(REPOSITORY / "eval_data", "--model", model, "--adapt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"adapted to 1 voice, by {len(RECORDINGS)} of {len(RECORDINGS)} recordings" in result.stdout
    assert "more accurate" not in result.stdout  # this model is the one for others
    adapted = read_rows(tmp_path / "out.csv")
    assert run_eval(REPOSITORY / "eval_data", "--model", model, cwd=tmp_path).returncode == 0
    plain = read_rows(tmp_path / "out.csv")
    assert [row["url"] for row in adapted] == [row["url"] for row in plain] and adapted != plain


def test_a_model_without_statistics_does_not_adapt(model, tmp_path):
    result = run_eval(REPOSITORY / "eval_data", "--model", model, "--adapt", cwd=tmp_path)
    assert result.returncode == 2
    assert "this model cannot adapt to recordings; --model model_any_voice.pt can" in result.stderr
    assert not (tmp_path / "out.csv").exists()


def test_the_committed_encoder_is_half_precision_and_small():
    path = REPOSITORY / "model_any_voice.pt"
    assert path.stat().st_size < 40e6
    assert load_checkpoint(path).network.encoder.conv1.weight.dtype == torch.float16


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
