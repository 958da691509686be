"""Which windows of a recording are classified."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from conftest import REPOSITORY

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import load_audio, stream_audio
from speech_emotion.audio.stretches import frame_energy, onset_frame
from speech_emotion.audio.windows import (
    RecordingWindows,
    Window,
    WindowSettings,
    crop_or_pad,
    recording_window,
    stretch_window,
    window_start,
)
from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import clip_table
from speech_emotion.models.features import MFCC, FeatureSettings

RATE = 48_000
SETTINGS = FeatureSettings()


def sound(*parts: tuple[float, float]) -> torch.Tensor:
    """Noise made of parts (seconds, level)."""
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.full(round(seconds * RATE), level) for seconds, level in parts])
    return torch.tensor(levels * rng.normal(size=len(levels)), dtype=torch.float32)


def burst(silence_s: float, voice_s: float = 1.5, noise: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(0)
    time = np.arange(int(voice_s * RATE)) / RATE
    voice = 0.3 * np.sin(2 * np.pi * 220 * time) * np.minimum(1, time / 0.1)
    samples = np.concatenate([np.zeros(int(silence_s * RATE)), voice, np.zeros(RATE // 2)])
    return torch.tensor(samples + rng.normal(scale=noise, size=len(samples)), dtype=torch.float32)


def found(waveform: torch.Tensor, piece_s: float = 30) -> list[tuple[Window, torch.Tensor]]:
    return list(RecordingWindows(lambda: waveform.split(round(piece_s * RATE), dim=-1), SETTINGS))


def spans(waveform: torch.Tensor) -> list[tuple[float, float]]:
    return [window.span for window, _ in found(waveform)]


def test_crop_or_pad_is_exact_to_the_sample():
    waveform = torch.arange(1, 11, dtype=torch.float32)
    assert crop_or_pad(waveform, 2, 4).tolist() == [3, 4, 5, 6]
    assert crop_or_pad(waveform, 8, 4).tolist() == [9, 10, 0, 0]
    assert crop_or_pad(waveform, -2, 4).tolist() == [0, 0, 1, 2]
    assert crop_or_pad(waveform, 20, 3).tolist() == [0, 0, 0]
    assert crop_or_pad(waveform, -5, 3).tolist() == [0, 0, 0]


def onset(waveform: torch.Tensor) -> float:
    return onset_frame(frame_energy(waveform, RATE).numpy()) / 100


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("silence_s", [0.0, 0.4, 1.0, 2.5])
def test_the_onset_is_found_in_silence_and_in_noise(silence_s, noise):
    assert onset(burst(silence_s, noise=noise)) == pytest.approx(onset(burst(0.0)) + silence_s, abs=0.06)


def test_a_clip_laid_out_like_ravdess_keeps_the_window_of_1_to_4_seconds():
    assert window_start(burst(1.0), RATE, 1.0) == 1.0
    assert window_start(burst(1.3), RATE, 1.0) == 1.0


def test_any_other_recording_is_aligned_to_its_onset():
    for silence_s in (0.0, 0.3, 2.0, 5.0):
        waveform = burst(silence_s)
        assert window_start(waveform, RATE, 1.0) == pytest.approx(onset(waveform) - 0.1)


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


def test_a_window_that_ends_before_the_recording_is_empty():
    assert not stretch_window(torch.ones(10 * RATE), -100, -5, SETTINGS).any()


def test_a_voice_from_the_first_frame_on_has_its_window_before_the_recording():
    ((window, samples),) = found(sound((0.3, 0.1), (2, 1e-5)))
    assert window.start == -0.1 * RATE and not samples[: RATE // 10].any() and samples[RATE // 10] != 0


def test_a_recording_in_one_piece_is_read_once_and_a_longer_one_twice():
    waveform, readings = sound((1, 1e-5), (2, 0.1), (1, 1e-5)), []
    for n_pieces, n_readings in ((1, 1), (2, 2)):
        readings.clear()
        windows = RecordingWindows(lambda n=n_pieces: readings.append(n) or waveform.chunk(n), SETTINGS)
        assert len(list(windows)) == 1 and len(readings) == n_readings


@pytest.mark.parametrize("n_samples", [0, 1, 479, 480, 48_000])
def test_silence_of_any_length_starts_at_zero(n_samples):
    assert onset(torch.zeros(n_samples)) == 0.0


@pytest.mark.parametrize("rate", [4_000, 22_050, 48_000])
@pytest.mark.parametrize("seconds", [0.1, 0.5, 2.9, 3.0, 3.2])
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


@pytest.mark.parametrize("silence_s", [5, 28, 29, 31, 65, 180])
def test_the_window_of_a_clip_does_not_depend_on_silence_before_it(silence_s):
    clip = sound((0.3, 1e-5), (1.8, 0.1), (0.3, 1e-5))
    ((_, alone),) = found(clip)
    ((window, samples),) = found(torch.cat([sound((silence_s, 1e-4)), clip]))
    assert window.span == (pytest.approx(silence_s + 0.3, abs=0.011), pytest.approx(silence_s + 2.1, abs=0.011))
    assert (samples - alone).abs().max() < 1e-3


@pytest.mark.parametrize("after_s", [0.5, 3, 20, 100])
def test_the_last_word_has_a_window(after_s):
    assert spans(sound((1, 1e-5), (2, 0.1), (30, 1e-5), (0.4, 0.05), (after_s, 1e-5)))[-1] == (33, 33.4)


def test_each_channel_has_its_own_windows():
    left = sound((1, 1e-5), (2, 0.1), (4, 1e-5), (2, 0.1), (1, 1e-5))
    right = sound((4, 1e-5), (2, 0.05), (4, 1e-5))
    stereo = torch.stack([left + 0.1 * right, right + 0.1 * left])  # 20 dB of crosstalk
    recording = RecordingWindows(lambda: stereo.split(3 * RATE, dim=-1), SETTINGS)
    assert recording.n_channels == 1  # what a live recording has, which is never measured
    windows = [window for window, _ in recording]
    assert recording.n_channels == 2
    assert [(window.channel, window.span) for window in windows] == [(0, (1, 3)), (1, (4, 6)), (0, (7, 9))]


@pytest.mark.parametrize("seed", range(5))
def test_the_windows_do_not_depend_on_the_pieces(seed):
    rng = np.random.default_rng(seed)
    levels = 10 ** rng.uniform(-5, -0.5, size=rng.integers(10, 150))
    waveform = sound(*((rng.uniform(0.05, 1), level) for level in levels))
    whole, in_pieces = found(waveform, 1000), found(waveform, rng.uniform(0.05, 30))
    assert [window for window, _ in whole] == [window for window, _ in in_pieces]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(whole, in_pieces, strict=True))


def test_reading_copies_in_proportion_to_the_length_of_a_recording(monkeypatch):
    copied, concatenate = [], torch.cat

    def counting(tensors, dim=0):
        copied.append(sum(tensor.numel() for tensor in tensors))
        return concatenate(tensors, dim)

    monkeypatch.setattr(torch, "cat", counting)
    piece, n_pieces = torch.zeros(30 * 1000), 600
    piece[1000:5000] = 0.1
    windows = RecordingWindows(lambda: (piece for _ in range(n_pieces)), WindowSettings(sample_rate=1000))
    assert sum(1 for _ in windows) == 2 * n_pieces
    assert sum(copied) < 3 * n_pieces * len(piece)


@pytest.mark.parametrize("error, waveform", [
    ("too short", torch.ones(4_799)), ("too short", torch.ones(0)), ("silent", torch.zeros(RATE)),
    ("silent", sound((40, 1e-5))),
])  # fmt: skip
def test_silent_and_short_recordings_are_errors(error, waveform):
    with pytest.raises(AudioError, match=f"^{error}$"):
        found(waveform)


@pytest.mark.slow
def test_every_ravdess_clip_has_the_one_window_that_training_sees_even_30_db_quieter():
    try:
        table = clip_table(REPOSITORY / "data")
    except NoDataError:
        pytest.skip("RAVDESS is not under data/")

    def check(path: str) -> None:
        waveform = load_audio(path, RATE)
        ((_, samples),) = RecordingWindows(partial(stream_audio, path, RATE), SETTINGS)
        assert torch.equal(samples, recording_window(waveform, SETTINGS)), path
        assert len(found(torch.round(waveform * 10**-1.5 * 32767) / 32767)) == 1, path

    with ThreadPoolExecutor() as readers:
        list(readers.map(check, table["path"]))


def test_a_window_of_a_resampled_stream_has_the_same_mfcc(tmp_path):
    time = np.arange(80 * 16_000) / 16_000
    voice = np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 5
    soundfile.write(tmp_path / "long.wav", voice + np.random.default_rng(0).normal(scale=1e-3, size=len(time)), 16_000)
    whole = load_audio(tmp_path / "long.wav", RATE)
    mfcc = MFCC(SETTINGS)
    windows = list(RecordingWindows(partial(stream_audio, tmp_path / "long.wav", RATE), SETTINGS))
    assert len(windows) == 28
    for window, samples in windows[1:]:
        expected = mfcc(stretch_window(whole, window.start, window.end, SETTINGS)[None])
        assert (mfcc(samples[None]) - expected).abs().max() < 1e-3 * expected.abs().max()
