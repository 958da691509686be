"""Any rate becomes one rate, whole or in pieces."""

import numpy as np
import pytest
import soundfile
import torch

from speech_emotion.audio import resampling
from speech_emotion.audio.channels import mix
from speech_emotion.audio.resampling import load_audio, stream_audio

RATE = 48_000


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


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 47_999, 48_000, 384_000])
def test_a_long_file_is_the_same_in_pieces(tmp_path, rate):
    seconds = 75 if rate < 100_000 else 61
    noise = np.random.default_rng(0).normal(scale=0.1, size=(round(seconds * rate), 2))
    soundfile.write(tmp_path / "long.wav", noise, rate)
    pieces = list(stream_audio(tmp_path / "long.wav", RATE))
    whole = load_audio(tmp_path / "long.wav", RATE)
    assert len(pieces) > 2 and max(map(len, pieces)) < 32 * RATE
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)


def test_a_long_file_whose_channels_change_often_is_the_same_in_pieces(tmp_path):
    """Each change ends a piece, which may be shorter than the kernel of the resampler."""
    rng = np.random.default_rng(0)
    blocks = [(rng.normal(size=(n, 1 + n % 2)).astype(np.float32), 8000) for n in (3, 5, *rng.integers(1, 60, 400))]

    def pieces(*_, **__):
        return ((mix(samples), rate) for samples, rate in blocks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "read_pieces", pieces)
        streamed = torch.cat(list(stream_audio("", RATE)))
        torch.testing.assert_close(streamed, load_audio("", RATE), atol=1e-5, rtol=0)
