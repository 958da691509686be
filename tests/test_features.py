"""The front ends against librosa and transformers, and the Whisper encoder with the weights that ship."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.windows import recording_window
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.features import MFCC, FeatureSettings, WhisperFeatures, WhisperLogMel

SETTINGS = FeatureSettings()


def windows(n: int) -> torch.Tensor:
    """Noise whose colour and level change over time, (n, window_samples)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, SETTINGS.window_samples, generator=generator)
    smooth = torch.nn.functional.avg_pool1d(noise, 9, 1, 4)
    envelope = torch.linspace(-4, 0, SETTINGS.window_samples).exp() * (1 + torch.arange(n))[:, None]
    return envelope * (smooth + 0.05 * noise)


@pytest.mark.parametrize(
    "changes", [{}, {"n_mfcc": 20, "top_db": 30.0}, {"hop_length": 480, "n_mels": 80, "n_fft": 1024, "n_mfcc": 40}]
)
def test_mfcc_agrees_with_librosa(changes):
    settings = replace(SETTINGS, **changes)
    batch = windows(3)
    ours = MFCC(settings)(batch).numpy()
    assert ours.shape == (3, settings.n_mfcc, settings.n_frames)
    for window, mfcc in zip(batch.numpy(), ours, strict=True):
        mel = librosa.feature.melspectrogram(
            y=window, sr=settings.sample_rate, n_fft=settings.n_fft, hop_length=settings.hop_length,
            n_mels=settings.n_mels, fmin=settings.f_min, fmax=settings.f_max,
        )  # fmt: skip
        decibels = librosa.power_to_db(mel, ref=np.max, top_db=settings.top_db)
        theirs = librosa.feature.mfcc(S=decibels, n_mfcc=settings.n_mfcc)
        assert np.linalg.norm(mfcc - theirs) < 1e-3 * np.linalg.norm(theirs)
        assert np.abs(mfcc - theirs).max() < 1e-3 * np.abs(theirs).max()


@pytest.mark.parametrize("front_end", [MFCC(SETTINGS), WhisperLogMel(WhisperFeatures())], ids=["MFCC", "Whisper"])
def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch(front_end):
    batch = windows(3)[:, : front_end.features.window_samples]
    batch[0, : batch.shape[1] // 3] = 0  # as far below its loudest point as the dynamic range allows
    batch[1] = torch.sin(torch.arange(batch.shape[1]) * 0.1)  # with a louder point than noise of the same peak
    alone = torch.cat([front_end(window[None]) for window in batch])
    torch.testing.assert_close(front_end(batch), alone)


@pytest.mark.parametrize("gain_db", [-30, -12, 6])
def test_the_recording_level_does_not_matter(gain_db):
    batch = windows(1)
    torch.testing.assert_close(MFCC(SETTINGS)(batch * 10 ** (gain_db / 20)), MFCC(SETTINGS)(batch), atol=0.02, rtol=0)


transformers = pytest.importorskip("transformers")
FEATURES = WhisperFeatures()
THEIRS = {  # names of transformers by OpenAI's
    "attn.query": "self_attn.q_proj", "attn.key": "self_attn.k_proj", "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj", "attn_ln": "self_attn_layer_norm", "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1", "mlp.2": "fc2", "blocks": "layers", "positional_embedding": "embed_positions.weight",
}  # fmt: skip


@pytest.fixture(scope="module")
def window():
    waveform = load_audio(REPOSITORY / "eval_data" / "even_male.flac", FEATURES.sample_rate)
    return recording_window(waveform, FEATURES)


def test_the_spectrogram_is_whispers(window):
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=3)
    loud = window / window.abs().max()
    theirs = extractor(loud.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(WhisperLogMel(FEATURES)(window[None]), theirs, atol=1e-4, rtol=0)


def test_the_hidden_states_are_those_of_another_implementation(window):
    encoder = load_checkpoint(REPOSITORY / "model_any_voice.pt").network.for_inference().encoder
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=len(encoder.blocks), encoder_attention_heads=8, encoder_ffn_dim=2048,
        max_source_positions=150, num_mel_bins=80,
    )  # fmt: skip
    other = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    other.layer_norm = torch.nn.Identity()
    state = {}
    for name, tensor in encoder.state_dict().items():
        for part, their_part in THEIRS.items():
            name = name.replace(part, their_part)
        state[name] = tensor
    other.load_state_dict(state)
    log_mel = WhisperLogMel(FEATURES)(window[None])
    with torch.inference_mode():
        _, *theirs = other(log_mel, output_hidden_states=True).hidden_states
        ours = encoder(log_mel)
    assert len(ours) == len(theirs) == len(encoder.blocks)
    for one, another in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, another, atol=1e-4, rtol=0)
