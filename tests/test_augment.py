from functools import partial

import librosa
import pytest
import torch

from speech_emotion.models.mfcc import FeatureSettings
from speech_emotion.training.augment import Sometimes
from speech_emotion.training.cnn import MARGIN_S
from speech_emotion.training.distortions import Babble, BandLimit, Equaliser, Gate, Mask, Noise, Reverberation, Warp

FEATURES = FeatureSettings()
MARGIN = round(MARGIN_S * FEATURES.sample_rate / FEATURES.hop_length)
HZ = torch.from_numpy(librosa.mel_frequencies(FEATURES.n_mels + 2, fmin=FEATURES.f_min, fmax=FEATURES.f_max)[1:-1])


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
        "reverberation": Reverberation(generator, FEATURES, rt60_s=0.6),
        "noise": Noise(generator, snr_db=(5.0, 20.0)),
        "babble": Babble(generator, spectrograms(20).half(), snr_db=(3.0, 30.0)),
        "band limit": BandLimit(generator, FEATURES),
        "gate": Gate(generator),
        "mask": Mask(generator, bands=10, frames=20),
    }


def test_gate_silences_what_is_faint_at_the_ends_and_only_there():
    background, pause = torch.full((3, FEATURES.n_mels, FEATURES.n_frames), -70.0), slice(60, 80)
    clips = background.clone()
    clips[:, :, 40:100] = -10.0
    clips[:, :, pause] = -70.0
    gated = Gate(torch.Generator().manual_seed(0))(clips)
    torch.testing.assert_close(gated[:, :, 40:100], clips[:, :, 40:100])
    assert (gated[:, :, :40] == -100).all() and (gated[:, :, 100:] == -100).all()


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
    assert repr(each(torch.Generator())["noise"]) == "Noise(snr_db=(5.0, 20.0))"


def test_warp_with_nothing_to_do_cuts_the_window_out():
    wide = spectrograms(extra_frames=2 * MARGIN)
    window = Warp(torch.Generator(), FEATURES, frequency=0.0, time=0.0, shift_s=0.0)(wide)
    torch.testing.assert_close(window, wide[:, :, MARGIN:-MARGIN], atol=1e-3, rtol=0)


def test_warp_moves_a_line_in_the_spectrum_by_at_most_its_setting():
    wide = torch.full((64, FEATURES.n_mels, FEATURES.n_frames + 2 * MARGIN), -80.0)
    wide[:, 30] = 0.0
    warped = Warp(torch.Generator().manual_seed(0), FEATURES, frequency=0.1, time=0.0, shift_s=0.0)(wide)
    factor = HZ[warped[:, :, 0].argmax(dim=1)] / HZ[30]
    assert 0.85 < factor.min() < 0.97 and 1.03 < factor.max() < 1.15


@pytest.mark.parametrize("kind", [Noise, partial(Babble, voices=torch.full((3, FEATURES.n_mels, 200), -20.0))])
def test_noise_has_the_asked_ratio(kind):
    speech = spectrograms()
    noisy = kind(torch.Generator().manual_seed(0), snr_db=(10.0, 10.0))(speech)
    added = (10 ** (noisy / 10) - 10 ** (speech / 10)).mean(dim=(1, 2))
    ratio = 10 * ((10 ** (speech / 10)).mean(dim=(1, 2)) / added).log10()
    torch.testing.assert_close(ratio, torch.full((8,), 10.0), atol=0.1, rtol=0)


def test_who_babbles_is_heard_somewhere_in_the_clip_and_whole():
    voices = torch.full((5, FEATURES.n_mels, FEATURES.n_frames), -100.0)
    for number, voice in enumerate(voices):
        voice[10 * number, 20:30] = 0.0  # each has a band of its own, for ten frames
    silence = torch.full((200, FEATURES.n_mels, FEATURES.n_frames), -90.0)
    heard = Babble(torch.Generator().manual_seed(0), voices, snr_db=(0.0, 0.0))(silence) > -80
    bands, frames = heard.any(dim=2), heard.any(dim=1)
    assert bands.any(dim=0).nonzero()[:, 0].tolist() == [0, 10, 20, 30, 40]
    assert frames.sum(dim=1).min() >= 10 and frames.sum(dim=1).max() <= 60
    assert frames.any(dim=0).all()


def test_reverberation_fades_after_the_sound_and_leaves_what_was_before():
    clap = torch.full((4, FEATURES.n_mels, FEATURES.n_frames), -100.0)
    clap[:, :, 50] = 0.0
    wet = Reverberation(torch.Generator().manual_seed(0), FEATURES, rt60_s=0.6)(clap)
    assert (wet[:, :, :50] < -80).all() and (wet[:, :, 50] >= 0).all()
    assert (wet[:, :, 51:60].diff(dim=2) < 0).all() and (wet[:, :, 51] > -30).all()


def test_band_limit_leaves_the_low_bands_alone():
    speech = spectrograms()
    limited = BandLimit(torch.Generator().manual_seed(0), FEATURES)(speech)
    torch.testing.assert_close(limited[:, HZ < 3_000], speech[:, HZ < 3_000])
    assert (limited[:, -1] == -100).all()


def test_sometimes_changes_its_share_of_the_clips():
    speech = spectrograms(400)
    generator = torch.Generator().manual_seed(0)
    changed = Sometimes(generator, 0.25, Equaliser(generator, gain_db=3.0))(speech)
    share = (changed != speech).flatten(1).any(dim=1).float().mean()
    assert 0.18 < share < 0.32
