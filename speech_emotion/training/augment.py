"""Augmentation during training: which transforms of distortions.py, how strong and how often."""

from dataclasses import dataclass

import torch
from torch import nn

from speech_emotion.models.features import FeatureSettings
from speech_emotion.training.distortions import (
    Babble,
    BandLimit,
    Equaliser,
    Gate,
    Mask,
    Noise,
    Reverberation,
    Sometimes,
    Warp,
)  # fmt: skip


@dataclass(frozen=True)
class AugmentationSettings:
    """The strength of each augmentation, and the probability that a clip gets it; 0 switches it off."""

    warp_frequency: float = 0.1  # frequencies are multiplied by a factor within 1 ± this
    warp_time: float = 0.1  # the same for durations
    shift_s: float = 0.15  # largest shift of the window, either way
    channel_probability: float = 0.6  # of equaliser, reverberation, noise and band limit together
    equaliser_db: float = 3.0  # standard deviation of the gain over frequency
    reverberation_probability: float = 0.2
    shortest_rt60_s: float = 0.15  # shortest time in which the sound of a room decays by 60 dB
    rt60_s: float = 0.6  # longest
    direct_to_reverberant_db: tuple[float, float] = (-3.0, 12.0)  # lowest and highest
    noise_probability: float = 0.5
    noise_snr_db: tuple[float, float] = (5.0, 50.0)
    noise_colour_db: float = 8.0  # standard deviation of its spectrum over frequency
    noise_swell_db: float = 8.0  # largest standard deviation over time, at the rate of syllables
    band_limit_probability: float = 0.1
    band_limit_hz: tuple[float, float] = (3_000.0, 8_000.0)  # a telephone; a low-rate codec
    babble_probability: float = 0.0  # if background voices are given
    babble_snr_db: tuple[float, float] = (3.0, 30.0)
    gate_probability: float = 0.3
    gate_depth_db: tuple[float, float] = (30.0, 50.0)  # below the loudest frame
    mask_bands: int = 10  # largest width of the mask
    mask_frames: int = 20


def augmentation(
    settings: AugmentationSettings,
    features: FeatureSettings,
    generator: torch.Generator,
    voices: torch.Tensor | None = None,
) -> nn.Sequential:
    """All augmentations of a training clip, in physical order: voice, room and microphone, background, editing.

    `voices` are spectrograms (N, M, T or more) of background voices; without them, there is no babble.
    """

    def sometimes(probability: float, *modules: nn.Module) -> nn.Module:
        return Sometimes(generator, probability, *modules)

    rt60_s = (settings.shortest_rt60_s, settings.rt60_s)
    room = Reverberation(generator, features, rt60_s, settings.direct_to_reverberant_db)
    noise = Noise(generator, settings.noise_snr_db, settings.noise_colour_db, settings.noise_swell_db)
    babble = []
    if voices is not None and settings.babble_probability:
        babble = [sometimes(settings.babble_probability, Babble(generator, voices, settings.babble_snr_db))]
    return nn.Sequential(
        Warp(generator, features, settings.warp_frequency, settings.warp_time, settings.shift_s),
        sometimes(
            settings.channel_probability,
            Equaliser(generator, settings.equaliser_db),
            sometimes(settings.reverberation_probability, room),
            sometimes(settings.noise_probability, noise),
            sometimes(settings.band_limit_probability, BandLimit(generator, features, settings.band_limit_hz)),
        ),
        *babble,
        sometimes(settings.gate_probability, Gate(generator, settings.gate_depth_db)),
        Mask(generator, settings.mask_bands, settings.mask_frames),
    )
