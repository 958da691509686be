"""Which windows of a recording are classified."""

from functools import partial

import numpy as np
import pytest
import soundfile
import torch

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import load_audio, stream_audio
from speech_emotion.audio.windows import (
    RecordingWindows,
    Window,
    crop_or_pad,
    recording_window,
    stretch_window,
    window_start,
)
from speech_emotion.models.features import FeatureSettings

RATE = 48_000
SETTINGS = FeatureSettings()


def sound(*parts: tuple[float, float]) -> torch.Tensor:
    """Noise made of parts (seconds, level)."""
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.full(round(seconds * RATE), level) for seconds, level in parts])
    return torch.tensor(levels * rng.normal(size=len(levels)), dtype=torch.float32)


def found(waveform: torch.Tensor, piece_s: float = 30) -> list[tuple[Window, torch.Tensor]]:
    return list(RecordingWindows(lambda: waveform.split(round(piece_s * RATE), dim=-1), SETTINGS))


def spans(waveform: torch.Tensor) -> list[tuple[float, float]]:
    return [window.span for window, _ in found(waveform)]


def test_a_clip_laid_out_like_ravdess_keeps_its_window_and_any_other_is_aligned_to_its_onset():
    for silence_s, start in ((1.0, 1.0), (1.3, 1.0), (0.0, -0.1), (0.3, 0.2), (2.0, 1.9), (5.0, 4.9)):
        waveform = sound((silence_s, 0), (1.5, 0.1), (0.5, 0))
        assert window_start(waveform, RATE, 1.0) == pytest.approx(start, abs=0.06)


def test_a_margin_adds_what_is_on_both_sides_of_the_window():
    waveform, margin = sound((1.5, 1e-5), (6, 0.1)), RATE // 2
    wide = recording_window(waveform, SETTINGS, margin_s=0.5)
    assert torch.equal(wide[margin:-margin], recording_window(waveform, SETTINGS))
    start = round(window_start(waveform, RATE, 1.0) * RATE)
    assert torch.equal(wide, waveform[start - margin : start + 3 * RATE + margin])
    window = wide[margin:-margin]
    assert torch.equal(stretch_window(waveform, start, 8 * RATE, SETTINGS), window)
    cut_off = stretch_window(waveform, start, start + RATE, SETTINGS)
    assert torch.equal(cut_off[:RATE], window[:RATE]) and not cut_off[RATE:].any()


@pytest.mark.parametrize("rate", [4_000, 48_000])
@pytest.mark.parametrize("seconds", [0.1, 2.9, 3.2])
def test_a_short_recording_has_the_one_window_that_training_sees(tmp_path, rate, seconds):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(scale=0.1, size=round(seconds * rate)), rate)
    ((window, samples),) = RecordingWindows(partial(stream_audio, tmp_path / "a.wav", RATE), SETTINGS)
    assert torch.equal(samples, recording_window(load_audio(tmp_path / "a.wav", RATE), SETTINGS))


def test_what_fits_one_window_stays_together():
    assert spans(sound((2, 1e-5), (0.8, 0.1), (0.9, 1e-5), (1, 0.1), (2, 1e-5))) == [(2, 4.7)]
    assert spans(sound((2, 1e-5), (0.8, 0.1), (1.9, 1e-5), (1, 0.1), (2, 1e-5))) == [(2, 2.8), (4.7, 5.7)]


def test_a_window_begins_before_the_onset_and_ends_with_the_stretch():
    """An angry clip, then a quieter sad one."""
    waveform = sound((0.5, 1e-5), (3.6, 0.3), (1, 1e-5), (1.5, 0.01), (0.5, 1e-5))
    for piece_s in (30, 2.5, 0.7):
        loud, other, quiet = found(waveform, piece_s)
        assert [window.span for window, _ in (loud, other, quiet)] == [(0.5, 2.3), (2.3, 4.1), (5.1, 6.6)]
        for window, samples in (loud, quiet):
            start, end = window.span
            assert window.start == pytest.approx((start - 0.1) * RATE, abs=0.08 * RATE)
            expected = crop_or_pad(waveform[: window.end], window.start, 3 * RATE)
            assert torch.equal(samples, expected) and samples[round((end - start + 0.45) * RATE) :].abs().max() == 0
        assert loud[0].end == round(2.3 * RATE) < other[0].end < quiet[0].start


@pytest.mark.parametrize("silence_s", [5, 29, 31, 65])
def test_the_window_of_a_clip_does_not_depend_on_silence_before_it(silence_s):
    clip = sound((0.3, 1e-5), (1.8, 0.1), (0.3, 1e-5))
    ((_, alone),) = found(clip)
    ((window, samples),) = found(torch.cat([sound((silence_s, 1e-4)), clip]))
    assert window.span == (pytest.approx(silence_s + 0.3, abs=0.011), pytest.approx(silence_s + 2.1, abs=0.011))
    assert (samples - alone).abs().max() < 1e-3


@pytest.mark.parametrize("at_s", [0.7, 2.7, 4.0])
@pytest.mark.parametrize("knock_s", [0.01, 0.03])
def test_a_knock_changes_nothing(at_s, knock_s):
    waveform = sound((2, 1e-3), (1.5, 0.05), (1, 1e-3))
    knocked = waveform.clone()
    knocked[round(at_s * RATE) : round((at_s + knock_s) * RATE)] = 0.5
    ((before, _),), ((after, _),) = found(waveform), found(knocked)
    assert after.span == before.span and abs(after.start - before.start) <= 0.01 * RATE
    assert window_start(knocked, RATE, 1.0) == pytest.approx(window_start(waveform, RATE, 1.0), abs=0.011)


@pytest.mark.parametrize("after_s", [0.5, 20])
def test_the_last_word_has_a_window(after_s):
    assert spans(sound((1, 1e-5), (2, 0.1), (30, 1e-5), (0.4, 0.05), (after_s, 1e-5)))[-1] == (33, 33.4)


@pytest.mark.parametrize("seed", range(5))
def test_the_windows_do_not_depend_on_the_pieces(seed):
    rng = np.random.default_rng(seed)
    levels = 10 ** rng.uniform(-5, -0.5, size=rng.integers(10, 150))
    waveform = sound(*((rng.uniform(0.05, 1), level) for level in levels))
    whole, in_pieces = found(waveform, 1000), found(waveform, rng.uniform(0.05, 30))
    assert [window for window, _ in whole] == [window for window, _ in in_pieces]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(whole, in_pieces, strict=True))


@pytest.mark.parametrize("error, waveform", [
    ("too short", torch.ones(4_799)), ("too short", torch.ones(0)), ("silent", torch.zeros(RATE)),
    ("silent", sound((40, 1e-5))),
])  # fmt: skip
def test_silent_and_short_recordings_are_errors(error, waveform):
    with pytest.raises(AudioError, match=f"^{error}$"):
        found(waveform)
