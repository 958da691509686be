import numpy as np
import pytest
import soundfile
import torch

from speech_emotion.audio.resampling import crop_or_pad, find_onset, load_audio, load_envelope, window_start

RATE = 48_000


def burst(silence_s: float, voice_s: float = 1.5, noise: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(0)
    time = np.arange(int(voice_s * RATE)) / RATE
    voice = 0.3 * np.sin(2 * np.pi * 220 * time) * np.minimum(1, time / 0.1)
    samples = np.concatenate([np.zeros(int(silence_s * RATE)), voice, np.zeros(RATE // 2)])
    return torch.tensor(samples + rng.normal(scale=noise, size=len(samples)), dtype=torch.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels_become_mono_at_one_rate(tmp_path, rate, channels):
    time = np.arange(rate) / rate
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(0.5 * np.sin(2 * np.pi * 440 * time)[:, None], channels, axis=1), rate)
    waveform = load_audio(path, RATE)
    assert waveform.shape == (RATE,) and waveform.dtype == torch.float32
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(waveform.numpy() - expected)[RATE // 10 : -RATE // 10].max() < 2e-3


def test_crop_or_pad_is_exact_to_the_sample():
    waveform = torch.arange(1, 11, dtype=torch.float32)
    assert crop_or_pad(waveform, 2, 4).tolist() == [3, 4, 5, 6]
    assert crop_or_pad(waveform, 8, 4).tolist() == [9, 10, 0, 0]
    assert crop_or_pad(waveform, -2, 4).tolist() == [0, 0, 1, 2]
    assert crop_or_pad(waveform, 20, 3).tolist() == [0, 0, 0]
    assert crop_or_pad(waveform, -5, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("silence_s", [0.0, 0.4, 1.0, 2.5])
def test_the_onset_is_found_in_silence_and_in_noise(silence_s, noise):
    onset = find_onset(burst(silence_s, noise=noise), RATE)
    assert onset == pytest.approx(find_onset(burst(0.0), RATE) + silence_s, abs=0.06)


def test_a_clip_laid_out_like_ravdess_keeps_the_window_of_1_to_4_seconds():
    assert window_start(burst(1.0), RATE, 1.0) == 1.0
    assert window_start(burst(1.3), RATE, 1.0) == 1.0


def test_any_other_recording_is_aligned_to_its_onset():
    for silence_s in (0.0, 0.3, 2.0, 5.0):
        waveform = burst(silence_s)
        assert window_start(waveform, RATE, 1.0) == pytest.approx(find_onset(waveform, RATE) - 0.1)


@pytest.mark.parametrize("n_samples", [0, 1, 479, 480, 48_000])
def test_silence_of_any_length_starts_at_zero(n_samples):
    assert find_onset(torch.zeros(n_samples), RATE) == 0.0


def test_the_outline_of_a_recording_keeps_every_peak_in_its_place(tmp_path):
    samples = np.random.default_rng(0).normal(scale=0.1, size=65 * 44_100).clip(-0.5, 0.5)
    samples[round(31.5 * 44_100)], samples[-1] = 0.9, -0.9
    soundfile.write(tmp_path / "long.wav", samples, 44_100)
    (low, high), duration_s = load_envelope(tmp_path / "long.wav", n_points=650)
    assert duration_s == 65 and len(low) == len(high) == 650
    assert high.argmax() == 315 and high.max() == pytest.approx(0.9, abs=1e-3)
    assert low.argmin() == 649 and low.min() == pytest.approx(-0.9, abs=1e-3)
    (low, high), duration_s = load_envelope(tmp_path / "long.wav")
    assert len(low) <= 1000
