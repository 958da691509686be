"""The network for unseen voices: what it embeds and learns, and adaptation as users run it."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import REPOSITORY, read_rows, run_eval, small_any_voice

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings, WhisperEncoder
from speech_emotion.models.features import WhisperFeatures
from speech_emotion.training.any_voice import train_head
from speech_emotion.training.any_voice_head import Corpus, HeadSettings, fit

RECORDINGS = sorted(path for path in (REPOSITORY / "eval_data").iterdir() if path.suffix not in (".md", ".sh"))


@pytest.fixture(scope="module")
def small() -> AnyVoice:
    return small_any_voice(EMOTIONS).network


def test_only_heard_frames_count(small):
    network = small.for_inference()
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


def test_eval_adapts_and_says_so(tmp_path):
    model = REPOSITORY / "model_any_voice.pt"
    result = run_eval(REPOSITORY / "eval_data", "--model", model, "--adapt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"adapted to 1 voice, by {len(RECORDINGS)} of {len(RECORDINGS)} recordings" in result.stdout
    adapted = read_rows(tmp_path / "out.csv")
    assert run_eval(REPOSITORY / "eval_data", "--model", model, cwd=tmp_path).returncode == 0
    plain = read_rows(tmp_path / "out.csv")
    assert [row["url"] for row in adapted] == [row["url"] for row in plain] and adapted != plain


def test_a_model_without_statistics_does_not_adapt(model, tmp_path):
    result = run_eval(REPOSITORY / "eval_data", "--model", model, "--adapt", cwd=tmp_path)
    assert result.returncode == 2
    assert "this model cannot adapt to recordings; --model model_any_voice.pt can" in result.stderr
    assert not (tmp_path / "out.csv").exists()


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
