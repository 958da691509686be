from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

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
