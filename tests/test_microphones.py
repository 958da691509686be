"""A voice gets the answer that it gets in a studio, whatever a microphone or the mains adds to it."""

import numpy as np
import pytest
import soundfile
import torch
from conftest import REPOSITORY

from speech_emotion.audio.resampling import Converter, HighPass
from speech_emotion.inference.predictor import Predictor

RATE = 48_000


@pytest.fixture(scope="module", params=["model.pt", "model_any_voice.pt"])
def predictor(request) -> Predictor:
    return Predictor(REPOSITORY / request.param, "cpu", speech_only=False)


@pytest.fixture(scope="module")
def clips(ravdess) -> list[np.ndarray]:
    """16 clips of RAVDESS, all at 48 kHz."""
    return [soundfile.read(path, always_2d=True)[0].mean(axis=1) for path in ravdess["path"][: 16 * 150 : 150]]


@pytest.fixture(scope="module")
def clean(predictor, clips) -> list[str]:
    return emotions(predictor, clips)


def emotions(predictor: Predictor, recordings: list[np.ndarray]) -> list[str]:
    return [predictor.predict_waveform(samples, RATE)["emotion"] for samples in recordings]


@pytest.mark.parametrize("added", [
    pytest.param(lambda time: 0.05, id="an offset of 0.05"),
    pytest.param(lambda time: 0.05 * np.exp(-time / 0.05), id="an offset that settles"),
    pytest.param(lambda time: 0.02 * np.sin(2 * np.pi * 20 * time), id="rumble"),
    pytest.param(lambda time: 0.005 * np.sin(2 * np.pi * 50 * time), id="hum"),
])  # fmt: skip
def test_what_cannot_be_heard_does_not_decide(predictor, clips, clean, added):
    changed = emotions(predictor, [samples + added(np.arange(len(samples)) / RATE) for samples in clips])
    assert sum(a != b for a, b in zip(changed, clean, strict=True)) <= 1


@pytest.mark.parametrize("rate", [4_000, 16_000, 44_100, 384_000])
@pytest.mark.parametrize("frequency, least, most", [
    (0, 0, 1e-6), (20, 0, 0.01), (50, 0, 0.04), (60, 0, 0.04), (85, 0.97, 1.03), (300, 0.99, 1.01),
])  # fmt: skip
def test_the_high_pass_removes_hum_and_keeps_voices(rate, frequency, least, most):
    tone = torch.cos(2 * torch.pi * frequency * torch.arange(2 * rate, dtype=torch.float64) / rate).float()
    inner = slice(rate // 5, -rate // 5)
    high = HighPass(rate)(tone[None], is_last=True)[0]
    gain = (high[inner].square().mean() / tone[inner].square().mean()).sqrt()
    assert least <= gain <= most


@pytest.mark.parametrize("rate", [8_000, 44_100, RATE])
def test_filtering_and_resampling_do_not_depend_on_the_pieces(rate):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(99_991, 2)).astype(np.float32)
    converter, parts, begin = Converter(rate, RATE), [], 0
    while begin < len(samples):
        end = begin + int(rng.choice([1, 10, 500, 5000, 20_000]))
        parts.append(converter(samples[begin:end], is_last=end >= len(samples)))
        begin = end
    whole = Converter(rate, RATE)(samples, is_last=True)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-6, rtol=0)
