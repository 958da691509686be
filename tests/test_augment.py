from dataclasses import replace

import pytest
import torch

from speech_emotion.models.features import FeatureSettings
from speech_emotion.training.augment import AugmentationSettings, Sometimes, augmentation
from speech_emotion.training.cnn import MARGIN_S
from speech_emotion.training.distortions import (
    Augmentation,
    Babble,
    BandLimit,
    Equaliser,
    Gate,
    Mask,
    Noise,
    Reverberation,
    Warp,
)

FEATURES = FeatureSettings()
MARGIN = round(MARGIN_S * FEATURES.sample_rate / FEATURES.hop_length)


def spectrograms(n: int = 8, extra_frames: int = 0) -> torch.Tensor:
    """Noise that fades in and out, each clip at its own place."""
    shape = (n, FEATURES.n_mels, FEATURES.n_frames + extra_frames)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 10 - 40
    middle = torch.linspace(0.3, 0.7, n)[:, None, None] * shape[2]
    return noise - (torch.arange(shape[2]) - middle).abs()


def each(generator: torch.Generator):
    return {
        "warp": Warp(generator, FEATURES, frequency=0.1, time=0.1, shift_s=0.1),
        "equaliser": Equaliser(generator, gain_db=3.0),
        "reverberation": Reverberation(generator, FEATURES, rt60_s=(0.15, 0.6), direct_to_reverberant_db=(-3.0, 12.0)),
        "noise": Noise(generator, snr_db=(5.0, 20.0), colour_db=8.0, swell_db=8.0),
        "babble": Babble(generator, spectrograms(20).half(), snr_db=(3.0, 30.0)),
        "band limit": BandLimit(generator, FEATURES, cutoff_hz=(3_000.0, 8_000.0)),
        "gate": Gate(generator, depth_db=(30.0, 50.0)),
        "mask": Mask(generator, bands=10, frames=20),
    }


@pytest.mark.parametrize("name", each(torch.Generator()))
def test_shapes_stay_the_input_stays_and_the_seed_decides(name):
    before = spectrograms(extra_frames=2 * MARGIN if name == "warp" else 0)
    kept = before.clone()
    first, again, other = (each(torch.Generator().manual_seed(seed))[name](before) for seed in (1, 1, 2))
    assert first.shape == (8, FEATURES.n_mels, FEATURES.n_frames) and first.isfinite().all()
    torch.testing.assert_close(before, kept)
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0] - before[0, :, : FEATURES.n_frames], first[1] - before[1, :, : FEATURES.n_frames])


def test_repr_prints_the_settings():
    assert repr(each(torch.Generator())["babble"]) == "Babble(snr_db=(3.0, 30.0), talkers=(2, 6))"


def test_warp_with_nothing_to_do_cuts_the_window_out():
    wide = spectrograms(extra_frames=2 * MARGIN)
    window = Warp(torch.Generator(), FEATURES, frequency=0.0, time=0.0, shift_s=0.0)(wide)
    torch.testing.assert_close(window, wide[:, :, MARGIN:-MARGIN], atol=1e-3, rtol=0)


def test_sometimes_changes_its_share_of_the_clips():
    speech = spectrograms(400)
    generator = torch.Generator().manual_seed(0)
    changed = Sometimes(generator, 0.25, Equaliser(generator, gain_db=3.0))(speech)
    share = (changed != speech).flatten(1).any(dim=1).float().mean()
    assert 0.18 < share < 0.32


def test_every_setting_reaches_its_distortion():
    settings = AugmentationSettings(
        warp_frequency=0.2, warp_time=0.3, shift_s=0.4, channel_probability=0.55, equaliser_db=5.0,
        reverberation_probability=0.15, shortest_rt60_s=0.25, rt60_s=0.5, direct_to_reverberant_db=(1.0, 2.0),
        noise_probability=0.65, noise_snr_db=(6.0, 7.0), noise_colour_db=1.5, noise_swell_db=2.5,
        band_limit_probability=0.35, band_limit_hz=(2_000.0, 2_500.0),
        babble_probability=0.45, babble_snr_db=(8.0, 9.0), gate_probability=0.75, gate_depth_db=(10.0, 20.0),
        mask_bands=3, mask_frames=4,
    )  # fmt: skip
    parts = augmentation(settings, FEATURES, torch.Generator(), spectrograms(2)).modules()
    found = [(type(part).__name__, part.settings) for part in parts if isinstance(part, Augmentation)]
    assert found == [
        ("Warp", {"frequency": 0.2, "time": 0.3, "shift_s": 0.4}),
        ("Sometimes", {"probability": 0.55}),
        ("Equaliser", {"gain_db": 5.0, "knots": 6}),
        ("Sometimes", {"probability": 0.15}),
        ("Reverberation", {"rt60_s": (0.25, 0.5), "direct_to_reverberant_db": (1.0, 2.0)}),
        ("Sometimes", {"probability": 0.65}),
        ("Noise", {"snr_db": (6.0, 7.0), "colour_db": 1.5, "swell_db": 2.5, "grain_db": 3.0, "knots": 5,
                   "swell_bands": 8, "syllable_frames": 6}),
        ("Sometimes", {"probability": 0.35}),
        ("BandLimit", {"cutoff_hz": (2_000.0, 2_500.0)}),
        ("Sometimes", {"probability": 0.45}),
        ("Babble", {"snr_db": (8.0, 9.0), "talkers": (2, 6)}),
        ("Sometimes", {"probability": 0.75}),
        ("Gate", {"depth_db": (10.0, 20.0)}),
        ("Mask", {"bands": 3, "frames": 4}),
    ]  # fmt: skip


def test_nobody_babbles_without_voices_or_when_it_is_off():
    on = AugmentationSettings(babble_probability=0.5)
    for settings, voices in ((on, None), (replace(on, babble_probability=0.0), spectrograms(2))):
        parts = augmentation(settings, FEATURES, torch.Generator(), voices).modules()
        assert not any(isinstance(part, Babble) for part in parts)
