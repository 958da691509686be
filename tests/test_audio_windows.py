"""Which windows of a recording are classified."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from conftest import REPOSITORY

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import load_audio, stream_audio
from speech_emotion.audio.windows import (
    RecordingWindows,
    WindowSettings,
    crop_or_pad,
    find_onset,
    recording_window,
    window_start,
)
from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import clip_table
from speech_emotion.models.mfcc import MFCC, FeatureSettings

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


def counted(waveform: torch.Tensor, piece_s: float = 30) -> list[tuple[float, float]]:
    """Start and end of the windows that count, in seconds."""
    windows = RecordingWindows(waveform.split(round(piece_s * RATE)), SETTINGS)
    seen = [window for window, _ in windows]
    return [windows.span(window) for window, counts in zip(seen, windows.counts(seen), strict=True) if counts]


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


@pytest.mark.parametrize("rate", [4_000, 22_050, 48_000])
@pytest.mark.parametrize("seconds", [0.1, 0.5, 2.9, 3.0, 4.3])
def test_a_short_recording_has_the_one_window_that_training_sees(tmp_path, rate, seconds):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(scale=0.1, size=round(seconds * rate)), rate)
    ((window, samples),) = RecordingWindows(stream_audio(tmp_path / "a.wav", RATE), SETTINGS)
    assert torch.equal(samples, recording_window(load_audio(tmp_path / "a.wav", RATE), SETTINGS))


def test_windows_follow_in_half_steps_while_as_much_is_heard_beyond_the_last():
    for beyond_s, n in [(0.0, 1), (1.4, 1), (1.6, 2), (2.9, 2), (3.1, 3), (9.1, 7)]:
        windows = counted(sound((1, 1e-5), (3 + beyond_s, 0.1), (5, 1e-5)))
        assert len(windows) == n
        assert windows == [(pytest.approx(1 + 1.5 * i), pytest.approx(4 + 1.5 * i)) for i in range(n)]


def test_windows_in_which_nobody_is_heard_do_not_count():
    windows = counted(sound((1, 1e-5), (4, 0.1), (20, 1e-5), (6, 0.1)))
    assert all(start < 5 or end > 25 for start, end in windows)
    assert sum(start < 5 for start, _ in windows) >= 2 <= sum(end > 25 for _, end in windows)


def test_a_voice_after_minutes_of_silence_is_found():
    windows = counted(sound((100, 1e-5), (6, 0.1)))
    assert windows and all(end > 100 for _, end in windows)


def test_the_first_window_counts_where_only_a_click_before_it_is_loud():
    waveform = sound((0.5, 0), (4, 1e-3))
    waveform[:480] = 1
    assert len(counted(waveform)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_windows_that_count_are_those_of_all_frames_at_once(seed):
    rng = np.random.default_rng(seed)
    levels = 10 ** rng.uniform(-3.5, -0.5, size=rng.integers(10, 150))
    waveform = sound(*((0.4, level) for level in levels))
    windows = RecordingWindows(waveform.split(round(rng.uniform(0.05, 30) * RATE)), SETTINGS)
    seen = [window for window, _ in windows]
    energy = waveform[: len(waveform) // 480 * 480].view(-1, 480).square().mean(dim=1).numpy()
    threshold = 10**-3.5 * energy.max()
    end = 480 * (np.flatnonzero(energy >= threshold)[-1] + 1)
    expected = [w.level >= threshold and (w is seen[0] or w.start + 3 * RATE <= end) for w in seen]
    assert windows.counts(seen) == (expected if any(expected) else [True] + [False] * (len(seen) - 1))


def test_hours_of_silence_cost_as_much_as_they_are_long(monkeypatch):
    copied, concatenate = [], torch.cat

    def counting(tensors):
        copied.append(sum(map(len, tensors)))
        return concatenate(tensors)

    monkeypatch.setattr(torch, "cat", counting)
    piece, n_pieces = torch.zeros(30 * 1000), 600
    windows = RecordingWindows((piece for _ in range(n_pieces)), WindowSettings(sample_rate=1000))
    with pytest.raises(AudioError, match="^silent$"):
        list(windows)
    assert sum(copied) < 3 * n_pieces * len(piece)
    kept = [tensor for value in vars(windows).values() if isinstance(value, tuple) for tensor in value]
    assert sum(map(len, kept)) < 100


@pytest.mark.parametrize("error, waveform", [
    ("too short", torch.ones(4_799)), ("too short", torch.ones(0)), ("silent", torch.zeros(RATE)),
    ("silent", sound((40, 1e-5))),
])  # fmt: skip
def test_what_cannot_be_heard_is_an_error(error, waveform):
    with pytest.raises(AudioError, match=f"^{error}$"):
        list(RecordingWindows(waveform.split(30 * RATE), SETTINGS))


@pytest.mark.slow
def test_every_ravdess_clip_has_the_one_window_that_training_sees_even_30_db_quieter():
    try:
        table = clip_table(REPOSITORY / "data")
    except NoDataError:
        pytest.skip("RAVDESS is not under data/")

    def check(path: str) -> None:
        waveform = load_audio(path, RATE)
        windows = RecordingWindows(stream_audio(path, RATE), SETTINGS)
        candidates, samples = zip(*windows, strict=True)
        assert sum(windows.counts(candidates)) == 1 and windows.counts(candidates)[0], path
        assert torch.equal(samples[0], recording_window(waveform, SETTINGS)), path
        quiet = torch.round(waveform * 10**-1.5 * 32767) / 32767
        assert len(counted(quiet)) == 1, path

    with ThreadPoolExecutor() as readers:
        list(readers.map(check, table["path"]))


def test_a_window_of_a_resampled_stream_has_the_same_mfcc(tmp_path):
    time = np.arange(80 * 16_000) / 16_000
    voice = np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 5
    soundfile.write(tmp_path / "long.wav", voice + np.random.default_rng(0).normal(scale=1e-3, size=len(time)), 16_000)
    whole = load_audio(tmp_path / "long.wav", RATE)
    mfcc = MFCC(SETTINGS)
    windows = list(RecordingWindows(stream_audio(tmp_path / "long.wav", RATE), SETTINGS))
    assert len(windows) == 52
    for window, samples in windows[1:]:
        expected = mfcc(whole[None, window.start : window.start + SETTINGS.window_samples])
        assert (mfcc(samples[None]) - expected).abs().max() < 1e-3 * expected.abs().max()
