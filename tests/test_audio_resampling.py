"""Any rate becomes one rate, whole or in pieces."""

import numpy as np
import pytest
import soundfile
import torch

from speech_emotion.audio.resampling import load_audio, stream_audio

RATE = 48_000


@pytest.mark.parametrize("rate", [8_000, 22_050, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels_become_mono_at_one_rate(tmp_path, rate, channels):
    time = np.arange(rate) / rate
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(0.5 * np.sin(2 * np.pi * 440 * time)[:, None], channels, axis=1), rate)
    waveform = load_audio(path, RATE)
    assert waveform.shape == (RATE,) and waveform.dtype == torch.float32
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(waveform.numpy() - expected)[RATE // 10 : -RATE // 10].max() < 2e-3


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_long_file_is_the_same_in_pieces(tmp_path, rate):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(75 * rate, 2))
    soundfile.write(tmp_path / "long.wav", noise, rate)
    pieces = list(stream_audio(tmp_path / "long.wav", RATE))
    whole = load_audio(tmp_path / "long.wav", RATE)
    assert len(pieces) > 2 and max(map(len, pieces)) < 32 * RATE
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)
