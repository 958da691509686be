"""Any rate becomes one rate, whole or in pieces."""

import numpy as np
import pytest
import soundfile
import torch

from speech_emotion.audio.resampling import load_audio, stream_audio

RATE = 48_000


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_long_file_is_the_same_in_pieces(tmp_path, rate):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(75 * rate, 2))
    soundfile.write(tmp_path / "long.wav", noise, rate)
    pieces = list(stream_audio(tmp_path / "long.wav", RATE))
    whole = load_audio(tmp_path / "long.wav", RATE)
    assert len(pieces) > 2 and max(map(len, pieces)) < 32 * RATE
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)
