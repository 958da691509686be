"""Every distortion with chosen numbers, against acoustics and numpy; then what is drawn, against the settings."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from speech_emotion.models.features import FeatureSettings, WhisperFeatures
from speech_emotion.training.augment import (
    AugmentationSettings,
    Babble,
    BandLimit,
    Equaliser,
    Gate,
    Mask,
    Noise,
    Reverberation,
    Sometimes,
    Warp,
    augmentation,
)

FEATURES = FeatureSettings()
M, T = FEATURES.n_mels, FEATURES.n_frames
FRAME_S = FEATURES.hop_length / FEATURES.sample_rate
HZ = librosa.mel_frequencies(M + 2, fmin=FEATURES.f_min, fmax=FEATURES.f_max)[1:-1]
MARGIN = 25
WIDE = T + 2 * MARGIN

SETTINGS = AugmentationSettings(
    warp_frequency=0.1, warp_time=0.2, shift_s=0.3, channel_probability=0.55, equaliser_db=4.0,
    reverberation_probability=0.15, shortest_rt60_s=0.2, rt60_s=0.5, direct_to_reverberant_db=(-3.0, 12.0),
    noise_probability=0.65, noise_snr_db=(5.0, 20.0), noise_colour_db=8.0, noise_swell_db=6.0,
    band_limit_probability=0.35, band_limit_hz=(3_000.0, 6_000.0), babble_probability=0.45, babble_snr_db=(3.0, 30.0),
    gate_probability=0.75, gate_depth_db=(30.0, 50.0), mask_bands=10, mask_frames=20,
)  # fmt: skip
WARP, ROOM, NOISE, EQUALISER, MASK, BAND_LIMIT, GATE = (
    kind(None, SETTINGS, FEATURES) for kind in (Warp, Reverberation, Noise, Equaliser, Mask, BandLimit, Gate)
)


def of_each(*numbers: float) -> torch.Tensor:
    """One number for every clip: (B, 1)."""
    return torch.tensor(numbers)[:, None]


def speech(n: int) -> torch.Tensor:
    return torch.randn(n, M, T, generator=torch.Generator().manual_seed(1)) * 10 - 40


def power(decibels) -> np.ndarray:
    return 10 ** (np.asarray(decibels, dtype=float) / 10)


@pytest.mark.parametrize("features", [FEATURES, WhisperFeatures()])
def test_mel_bands_are_where_librosa_has_them(features):
    centres = librosa.mel_frequencies(features.n_mels + 2, fmin=features.f_min, fmax=features.f_max)[1:-1]
    np.testing.assert_allclose(Warp(None, SETTINGS, features).centres, centres, rtol=1e-6)


def test_warp_multiplies_frequencies_and_durations_and_moves_the_window():
    """A level that rises by 1 dB a band, or a frame, says where each value comes from."""
    frequency, duration, shift_s = (1.0, 1.1, 0.9, 1.05), (1.0, 0.8, 1.2, 1.1), (0.0, 0.3, -0.3, 0.1)
    drawn = {"frequency": of_each(*frequency), "duration": of_each(*duration), "shift_s": of_each(*shift_s)}
    bands = torch.arange(M).float()[None, :, None].expand(4, M, WIDE)
    frames = torch.arange(WIDE).float().expand(4, M, WIDE)
    from_band, from_frame = WARP.distort(bands, **drawn), WARP.distort(frames, **drawn)
    for clip in range(4):
        band = np.interp(HZ / frequency[clip], HZ, np.arange(M))
        frame = (MARGIN + shift_s[clip] / FRAME_S + np.arange(T) / duration[clip]).clip(0, WIDE - 1)
        np.testing.assert_allclose(from_band[clip], np.tile(band[:, None], T), atol=2e-3)
        np.testing.assert_allclose(from_frame[clip], np.tile(frame, (M, 1)), atol=2e-3)


def test_the_equaliser_adds_a_curve_that_is_straight_between_its_knots():
    gains = torch.tensor([[[0.0, 3, -3, 6, 0, 1]], [[-9.0, 0, 0, 0, 0, 9]]])
    changed = EQUALISER.distort(speech(2), gains) - speech(2)
    for clip in range(2):
        curve = np.interp(np.linspace(0, 5, M), np.arange(6), gains[clip, 0])
        np.testing.assert_allclose(changed[clip], np.tile(curve[:, None], T), atol=1e-4)


def test_a_room_adds_up_the_echoes_of_all_that_was_heard_before():
    dry = speech(1)
    wet = ROOM.distort(dry, rt60_s=of_each(0.3), direct_to_reverberant_db=of_each(0.0))
    tail = 10 ** (-6 * np.arange(1, 26) * FRAME_S / 0.3)
    impulse = np.concatenate([[1], tail / tail.sum()])
    expected = [np.convolve(power(band), impulse)[:T] for band in dry[0]]
    np.testing.assert_allclose(wet[0], 10 * np.log10(expected), atol=1e-3)


def test_noise_has_the_asked_ratio_colour_swell_and_grain():
    rng = np.random.default_rng(0)
    dry, snr = speech(2), np.array([0.0, 20.0])
    colour, swell, grain = rng.normal(size=(2, 5)) * 8, rng.normal(size=(2, 8, 25)), rng.normal(size=(2, M, T)) * 3
    drawn = {"colour_db": colour[:, None], "swell": swell, "swell_db": [[[2.0]], [[5.0]]], "grain_db": grain}
    drawn |= {"snr_db": snr[:, None, None]}
    noisy = NOISE.distort(dry, **{name: torch.as_tensor(value).float() for name, value in drawn.items()})
    added = power(noisy) - power(dry)
    ratio = power(dry).mean(axis=(1, 2)) / added.mean(axis=(1, 2))
    np.testing.assert_allclose(10 * np.log10(ratio), snr, atol=1e-3)
    for clip, strength in enumerate((2.0, 5.0)):
        coloured = np.interp(np.linspace(0, 4, M), np.arange(5), colour[clip])[:, None]
        swelling = zoom(swell[clip], (M / 8, T / 25), order=1, mode="nearest", grid_mode=True)
        expected = power(coloured + strength * swelling + grain[clip])
        expected *= added[clip].mean() / expected.mean()
        np.testing.assert_allclose(added[clip], expected, rtol=1e-2, atol=1e-4 * power(dry[clip]).mean())


def test_babble_voices_are_equally_loud_and_start_at_the_given_frames():
    voices = speech(3) - torch.tensor([0.0, 20, 40])[:, None, None]
    who, shift = torch.tensor([[2, 0, 1], [1, 1, 0]]), torch.tensor([[3, 0, 100], [0, 50, 7]])
    snr = torch.tensor([10.0, 0.0])[:, None, None]
    babble, dry = Babble(None, SETTINGS, FEATURES, voices), speech(2).flip(2)
    noisy = babble.distort(dry, who, shift, n_talkers=torch.tensor([[2], [3]]), snr_db=snr)
    for clip, n in ((0, 2), (1, 3)):
        others = np.zeros((M, T))
        for voice, frames in zip(who[clip, :n], shift[clip, :n], strict=True):
            spoken = np.roll(power(voices[voice]), -int(frames), axis=1)
            others += spoken / spoken.mean()
        heard = power(dry[clip])
        expected = heard + others * heard.mean() / others.mean() / power(snr[clip, 0, 0])
        np.testing.assert_allclose(noisy[clip], 10 * np.log10(expected), atol=1e-2)


def test_a_band_limit_silences_what_is_above_it_only():
    cutoffs = (3_000.0, 5_500.0)
    limited = BAND_LIMIT.distort(speech(2), cutoff_hz=of_each(*cutoffs))
    for clip, before, cutoff in zip(limited, speech(2), cutoffs, strict=True):
        cut = np.greater(HZ, cutoff)
        assert torch.equal(clip[~cut], before[~cut]) and (clip[cut] == -100).all()


def test_a_gate_silences_what_is_faint_at_the_ends_and_only_there():
    clips = torch.full((2, M, T), -70.0)
    clips[:, :, 30:110] = -45.0
    clips[:, :, 40:60] = clips[:, :, 80:100] = -10.0
    gated = GATE.distort(clips, depth_db=of_each(34.0, 36.0))  # what is 35 dB below is heard or not
    for clip, before, first, end in zip(gated, clips, (40, 30), (100, 110), strict=True):
        assert torch.equal(clip[:, first:end], before[:, first:end])
        assert (clip[:, :first] == -100).all() and (clip[:, end:] == -100).all()


def test_a_mask_puts_the_mean_of_each_clip_into_one_band_and_one_stretch():
    bands = torch.tensor([[[3.2], [0.0]], [[10.0], [0.0]]])
    frames = torch.tensor([[[100.0], [20.0]], [[104.5], [30.0]]])
    before = speech(2) - torch.tensor([0.0, 20.0])[:, None, None]
    masked = MASK.distort(before, bands, frames)
    inside = torch.zeros(2, M, T, dtype=torch.bool)
    inside[0, 4:10] = inside[0, :, 100:105] = inside[1, :, 20:30] = True
    assert torch.equal(masked[~inside], before[~inside])
    for clip in range(2):
        np.testing.assert_allclose(masked[clip][inside[clip]], before[clip].mean(), rtol=1e-5)


def test_the_draws_of_a_seed_are_those_of_the_published_models():
    """Sums of what was drawn for them, weighted by place: else a model could not be trained again."""
    babble = Babble(None, SETTINGS, FEATURES, torch.zeros(5, 1, 1))
    sums = [2.4254697, 19.986888, 7.4891768, 93.266597, 215.53907, 8298.1322, 75.320884, 69.158836]
    for distortion, expected in zip((WARP, EQUALISER, ROOM, NOISE, babble, BAND_LIMIT, GATE, MASK), sums, strict=True):
        distortion.generator = torch.Generator().manual_seed(0)
        drawn = torch.cat([numbers.double().flatten() for numbers in distortion.draw(3, 8, 24).values()])
        assert float((drawn * torch.arange(1, len(drawn) + 1)).mean()) == pytest.approx(expected, rel=1e-5)


def test_sometimes_changes_its_share_of_the_clips():
    generator = torch.Generator().manual_seed(0)
    changed = Sometimes(generator, 0.25, Equaliser(generator, SETTINGS, FEATURES))(speech(400))
    share = (changed != speech(400)).flatten(1).any(dim=1).float().mean()
    assert 0.18 < share < 0.32


def test_augmentation_leaves_its_input_alone_and_the_seed_decides():
    settings = replace(AugmentationSettings(), babble_probability=0.5)
    wide = torch.randn(16, M, WIDE, generator=torch.Generator().manual_seed(1)) * 10 - 40
    before = wide.clone()
    first, again, other = (
        augmentation(settings, FEATURES, torch.Generator().manual_seed(seed), speech(20).half())(wide)
        for seed in (1, 1, 2)
    )
    assert first.shape == (16, M, T) and first.isfinite().all() and torch.equal(wide, before)
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)


def test_the_augmentations_come_in_physical_order_with_their_probabilities():
    parts = [*augmentation(SETTINGS, FEATURES, torch.Generator(), speech(2)).modules()][1:]
    order = [part.probability if isinstance(part, Sometimes) else type(part) for part in parts]
    assert order == [
        Warp, 0.55, Equaliser, 0.15, Reverberation, 0.65, Noise, 0.35, BandLimit, 0.45, Babble, 0.75, Gate, Mask,
    ]  # fmt: skip
    assert all(part.settings is SETTINGS for part in parts if not isinstance(part, Sometimes))
