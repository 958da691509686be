"""Augmentation of log-mel spectrograms in training, which simulates other voices, rooms and microphones.

Each augmentation maps a batch (B, M, T) in dB to a batch: `draw` draws random parameters for every clip, and `distort`
applies them. All randomness comes from the torch.Generator that is passed in.
B: clips, M: mel bands, T: frames, V: background voices.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.models.features import FeatureSettings

_SILENCE_DB = -100.0  # also the lowest level of MFCC.log_mel


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

    shared, sometimes = (generator, settings, features), partial(Sometimes, generator)
    babble = []
    if voices is not None and settings.babble_probability:
        babble = [sometimes(settings.babble_probability, Babble(*shared, voices))]
    return nn.Sequential(
        Warp(*shared),
        sometimes(
            settings.channel_probability,
            Equaliser(*shared),
            sometimes(settings.reverberation_probability, Reverberation(*shared)),
            sometimes(settings.noise_probability, Noise(*shared)),
            sometimes(settings.band_limit_probability, BandLimit(*shared)),
        ),
        *babble,
        sometimes(settings.gate_probability, Gate(*shared)),
        Mask(*shared),
    )


def _mel(hz: float) -> float:
    """On Slaney's scale, which the spectrograms have: linear up to 1 kHz, then 27 mels for a factor of 6.4."""
    return 3 / 200 * hz if hz < 1000 else 15 + 27 * math.log(hz / 1000, 6.4)


class Augmentation(nn.Module):
    """Base class: draws the parameters for every clip of a batch, and applies them."""

    def __init__(self, generator: torch.Generator, settings: AugmentationSettings, features: FeatureSettings):
        super().__init__()
        self.generator, self.settings, self.features = generator, settings, features
        ends = _mel(features.f_min), _mel(features.f_max)
        mels = torch.linspace(*ends, features.n_mels + 2, dtype=torch.float64)[1:-1]
        centres = torch.where(mels < 15, 200 / 3 * mels, 1000 * 6.4 ** ((mels - 15) / 27))
        self.register_buffer("centres", centres.float())  # of the mel bands, in Hz: (M,)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        drawn = self.draw(*log_mel.shape)
        return self.distort(log_mel, **{name: values.to(log_mel.device) for name, values in drawn.items()})

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        """The random arguments of `distort` for a batch of this shape."""
        raise NotImplementedError

    def distort(self, log_mel: torch.Tensor, **drawn: torch.Tensor) -> torch.Tensor:
        """Apply these parameters to the batch; deterministic."""
        raise NotImplementedError

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def normal(self, deviation: float, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator) * deviation

    def integers(self, low: int, end: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, end, shape, generator=self.generator)


class Warp(Augmentation):
    """Changes speaking rate, pitch and formants, and shifts the window: (B, M, T + 2 margins) → (B, M, T).

    All in one interpolation.
    """

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {
            "frequency": 1 + self.uniform(-1, 1, B, 1) * self.settings.warp_frequency,
            "duration": 1 + self.uniform(-1, 1, B, 1) * self.settings.warp_time,
            "shift_s": self.uniform(-1, 1, B, 1) * self.settings.shift_s,
        }

    def distort(self, log_mel, frequency, duration, shift_s) -> torch.Tensor:
        """Factors and seconds, (B, 1) each; with `shift_s` > 0 the window begins later."""
        B, M, T_wide = log_mel.shape
        T = self.features.n_frames
        shift = shift_s * (self.features.sample_rate / self.features.hop_length)  # frames

        # Source band of each target band: fractional index of the frequency centre / factor.
        source_hz = self.centres / frequency  # (B, M)
        right = torch.searchsorted(self.centres, source_hz).clamp(1, M - 1)
        left_hz, right_hz = self.centres[right - 1], self.centres[right]
        band = right - 1 + (source_hz - left_hz) / (right_hz - left_hz)  # (B, M)
        # Source frame of each target frame; the start of the window is fixed.
        margin = (T_wide - T) / 2
        frame = margin + shift + torch.arange(T, device=log_mel.device) / duration  # (B, T)

        grid = torch.stack(
            [
                (2 * frame / (T_wide - 1) - 1)[:, None, :].expand(B, M, T),
                (2 * band / (M - 1) - 1)[:, :, None].expand(B, M, T),
            ],
            dim=-1,
        )  # (B, M, T, 2)
        # Clamping repeats the edges; the equivalent padding_mode="border" is missing on Apple silicon.
        return F.grid_sample(log_mel[:, None], grid.clamp(-1, 1), align_corners=True)[:, 0]


class Equaliser(Augmentation):
    """Simulates another microphone or distance by a random gain over frequency.

    The gain is linear between `knots`, which are equally spaced in mel bands.
    """

    knots = 6

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {"gains_db": self.normal(self.settings.equaliser_db, B, 1, self.knots)}

    def distort(self, log_mel, gains_db) -> torch.Tensor:
        """Gains in dB at the knots, (B, 1, knots)."""
        return log_mel + _over_bands(gains_db, log_mel.shape[1])


class Reverberation(Augmentation):
    """Simulates a room: after the direct sound, the energy in each band decays exponentially, by 60 dB in `rt60_s`.

    The total energy of the tail is `direct_to_reverberant_db` below that of the direct sound.
    """

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {
            "rt60_s": self.uniform(self.settings.shortest_rt60_s, self.settings.rt60_s, B, 1),
            "direct_to_reverberant_db": self.uniform(*self.settings.direct_to_reverberant_db, B, 1),
        }

    def distort(self, log_mel, rt60_s, direct_to_reverberant_db) -> torch.Tensor:
        """Seconds and dB, (B, 1) each."""
        B, M, T = log_mel.shape
        frame_s = self.features.hop_length / self.features.sample_rate
        n_taps = math.ceil(self.settings.rt60_s / frame_s)
        decay = 10 ** (-6 * torch.arange(1, n_taps + 1, device=log_mel.device) * frame_s / rt60_s)  # (B, taps)
        tail = decay / decay.sum(dim=1, keepdim=True) * power(-direct_to_reverberant_db)
        impulse = torch.cat([torch.ones_like(rt60_s), tail], dim=1)  # (B, 1 + taps)
        dry = F.pad(power(log_mel), (n_taps, 0)).transpose(0, 1)  # (M, B, taps + T)
        reverberant = F.conv1d(dry, impulse.flip(1)[:, None], groups=B).transpose(0, 1)
        return decibels(reverberant)


class BandLimit(Augmentation):
    """Simulates a telephone or low-rate codec by silence above a cutoff."""

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {"cutoff_hz": self.uniform(*self.settings.band_limit_hz, B, 1)}

    def distort(self, log_mel, cutoff_hz) -> torch.Tensor:
        """Cutoff in Hz, (B, 1)."""
        cut = self.centres > cutoff_hz  # (B, M)
        return log_mel.masked_fill(cut[:, :, None], _SILENCE_DB)


class Gate(Augmentation):
    """Simulates an audio editor or a noise gate: digital silence before and after the audible part.

    The audible part is from the first to the last frame within `depth_db` of the loudest frame.
    """

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {"depth_db": self.uniform(*self.settings.gate_depth_db, B, 1)}

    def distort(self, log_mel, depth_db) -> torch.Tensor:
        """Depth in dB, (B, 1)."""
        level = decibels(power(log_mel).mean(dim=1))  # (B, T)
        loud = level > level.amax(dim=1, keepdim=True) - depth_db
        heard = (loud.cumsum(dim=1) > 0) & (loud.flip(1).cumsum(dim=1).flip(1) > 0)
        return log_mel.masked_fill(~heard[:, None], _SILENCE_DB)


class Mask(Augmentation):
    """SpecAugment (Park et al., 2019): one mask over bands and one over frames, at the mean of the clip."""

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        drawn = {}
        for name, widest, size in (("bands", self.settings.mask_bands, M), ("frames", self.settings.mask_frames, T)):
            width = self.uniform(0, widest, B, 1)
            start = self.uniform(0, 1, B, 1) * (size - width)
            drawn[name] = torch.stack([start, start + width])
        return drawn

    def distort(self, log_mel, bands, frames) -> torch.Tensor:
        """Start and end of the masked bands and frames, (2, B, 1) each."""
        mean = log_mel.mean(dim=(1, 2), keepdim=True)
        for dim, (start, end) in ((1, bands), (2, frames)):
            position = torch.arange(log_mel.shape[dim], device=log_mel.device)
            inside = (position >= start) & (position < end)  # (B, M or T)
            log_mel = torch.where(inside.unsqueeze(3 - dim), mean, log_mel)
        return log_mel


class Noise(Augmentation):
    """Noise with a random spectrum that fluctuates at the rate of syllables, `snr_db` below the clip.

    Its level in dB is the sum of three random components: colour, over frequency, linear between `knots`; swell, over
    time, linear between points `syllable_frames` apart (8 per second with frames of 20 ms), in `swell_bands` parts of
    the spectrum; and grain, with deviation `grain_db`, in every band and frame, as in the mel bands of steady noise.
    """

    knots, swell_bands, syllable_frames, grain_db = 5, 8, 6, 3.0

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        return {
            "colour_db": self.normal(self.settings.noise_colour_db, B, 1, self.knots),
            "swell": self.normal(1, B, self.swell_bands, T // self.syllable_frames),
            "swell_db": self.uniform(0, self.settings.noise_swell_db, B, 1, 1),
            "grain_db": self.normal(self.grain_db, B, M, T),
            "snr_db": self.uniform(*self.settings.noise_snr_db, B, 1, 1),
        }

    def distort(self, log_mel, colour_db, swell, swell_db, grain_db, snr_db) -> torch.Tensor:
        """Colour (B, 1, knots), swell (B, bands, syllables) with deviation 1, its strength and the ratio (B, 1, 1)."""
        B, M, T = log_mel.shape
        swell = F.interpolate(swell, size=T, mode="linear")
        swell = F.interpolate(swell.transpose(1, 2), size=M, mode="linear").transpose(1, 2)  # (B, M, T)
        noise = _over_bands(colour_db, M) + swell * swell_db + grain_db
        return _mixed(log_mel, power(noise), snr_db)


class Babble(Augmentation):
    """`talkers` = (fewest, most) other people talking at once, equally loud, `snr_db` below the clip.

    They are chosen from `voices`, spectrograms (N, M, T or more) in dB.
    """

    talkers = (2, 6)

    def __init__(self, generator, settings: AugmentationSettings, features: FeatureSettings, voices: torch.Tensor):
        super().__init__(generator, settings, features)
        self.register_buffer("voices", voices)

    def draw(self, B: int, M: int, T: int) -> dict[str, torch.Tensor]:
        fewest, most = self.talkers
        return {
            "who": self.integers(0, len(self.voices), B, most),
            "shift": self.integers(0, T, B, most),
            "n_talkers": self.integers(fewest, most + 1, B, 1),
            "snr_db": self.uniform(*self.settings.babble_snr_db, B, 1, 1),
        }

    def distort(self, log_mel, who, shift, n_talkers, snr_db) -> torch.Tensor:
        """Indices of voices and their first frames (B, V), the number that talk (B, 1), the ratio in dB (B, 1, 1)."""
        B, M, T = log_mel.shape
        talks = torch.arange(who.shape[1], device=log_mel.device) < n_talkers
        frames = (torch.arange(T, device=log_mel.device) + shift[..., None]) % T  # (B, V, T)
        speech = power(self.voices[who, :, :T].to(log_mel)).gather(3, frames[:, :, None].expand(-1, -1, M, -1))
        speech = speech / speech.mean(dim=(2, 3), keepdim=True) * talks[..., None, None]  # (B, V, M, T)
        return _mixed(log_mel, speech.sum(dim=1), snr_db)


class Sometimes(nn.Sequential):
    """Applies its modules to each clip with a probability; the other clips are unchanged."""

    def __init__(self, generator: torch.Generator, probability: float, *modules: nn.Module):
        super().__init__(*modules)
        self.generator, self.probability = generator, probability

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        chosen = torch.rand(len(log_mel), generator=self.generator).to(log_mel.device) < self.probability
        if not chosen.any():
            return log_mel
        changed = log_mel.clone()
        changed[chosen] = super().forward(log_mel[chosen])
        return changed


def _mixed(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """Add noise, as power (B, M, T), to spectrograms in dB (B, M, T), with mean power `snr_db` (B, 1, 1) below."""
    speech = power(log_mel)
    gain = speech.mean(dim=(1, 2), keepdim=True) / noise.mean(dim=(1, 2), keepdim=True) / power(snr_db)
    return decibels(speech + gain * noise)


def _over_bands(knots: torch.Tensor, n_bands: int) -> torch.Tensor:
    """Linear interpolation (B, 1, knots) → (B, n_bands, 1); the first and last knots are the first and last bands."""
    return F.interpolate(knots, size=n_bands, mode="linear", align_corners=True).transpose(1, 2)


def power(level_db: torch.Tensor) -> torch.Tensor:
    return 10 ** (level_db / 10)


def decibels(powers: torch.Tensor) -> torch.Tensor:
    return 10 * powers.clamp(min=1e-10).log10()
