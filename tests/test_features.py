from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from speech_emotion.audio.windows import recording_window
from speech_emotion.models.features import MFCC, FeatureSettings

SETTINGS = FeatureSettings()


def windows(n: int) -> torch.Tensor:
    """Noise whose colour and level change over time, (n, window_samples)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, SETTINGS.window_samples, generator=generator)
    smooth = torch.nn.functional.avg_pool1d(noise, 9, 1, 4)
    envelope = torch.linspace(-4, 0, SETTINGS.window_samples).exp() * (1 + torch.arange(n))[:, None]
    return envelope * (smooth + 0.05 * noise)


@pytest.mark.parametrize(
    "changes", [{}, {"n_mfcc": 20}, {"hop_length": 480, "n_mels": 80, "n_fft": 1024, "n_mfcc": 40}]
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


def test_a_clip_does_not_depend_on_its_neighbours_in_the_batch():
    batch = windows(3)
    together = MFCC(SETTINGS)(batch)
    alone = torch.cat([MFCC(SETTINGS)(window[None]) for window in batch])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("gain_db", [-30, -12, 6])
def test_the_recording_level_does_not_matter(gain_db):
    batch = windows(1)
    torch.testing.assert_close(MFCC(SETTINGS)(batch * 10 ** (gain_db / 20)), MFCC(SETTINGS)(batch), atol=0.02, rtol=0)


def test_silence_is_finite():
    assert MFCC(SETTINGS)(torch.zeros(1, SETTINGS.window_samples)).isfinite().all()


def test_a_ravdess_clip_is_cut_from_1_to_4_seconds():
    waveform = torch.cat([torch.zeros(48_000), torch.sin(torch.arange(2.2 * 48_000) * 0.03)])
    window = recording_window(waveform, SETTINGS)
    assert window.shape == (144_000,)
    torch.testing.assert_close(window[: len(waveform) - 48_000], waveform[48_000:])
    assert not window[len(waveform) - 48_000 :].any()
