"""Augmentations of log-mel spectrograms that simulate other voices, rooms and microphones.

Each is an nn.Module that maps a batch (B, M, T) in dB to a batch: `draw` draws random parameters for every clip, and
`distort` applies them. All randomness comes from the torch.Generator that is passed in.
B: clips, M: mel bands, T: frames, V: background voices.
"""

import math

import librosa
import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.models.features import FeatureSettings

Range = tuple[float, float]  # lowest and highest
_SILENCE_DB = -100.0  # also the lowest level of MFCC.log_mel


class Augmentation(nn.Module):
    """Base class: stores the settings, for `repr`, and the random generator."""

    def __init__(self, generator: torch.Generator, **settings):
        super().__init__()
        self.generator = generator
        self.settings = settings

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        return self.distort(log_mel, **self.draw(log_mel))

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        """The random arguments of `distort` for a batch of this shape."""
        raise NotImplementedError

    def distort(self, log_mel: torch.Tensor, **drawn: torch.Tensor) -> torch.Tensor:
        """Apply these parameters, all tensors, to the batch; deterministic."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())

    def uniform(self, like: torch.Tensor, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator).to(like) * (high - low) + low

    def normal(self, like: torch.Tensor, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator).to(like)

    def integers(self, like: torch.Tensor, low: int, end: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, end, shape, generator=self.generator).to(like.device)


class Warp(Augmentation):
    """Changes speaking rate, pitch and formants, and shifts the window: (B, M, T + 2 margins) → (B, M, T).

    Frequencies are multiplied by a factor within 1 ± `frequency`, durations by one within 1 ± `time`, and the window is
    shifted by up to `shift_s` either way, all in one interpolation.
    """

    def __init__(self, generator, features: FeatureSettings, frequency: float, time: float, shift_s: float):
        super().__init__(generator, frequency=frequency, time=time, shift_s=shift_s)
        self.features = features
        self.register_buffer("centres", _mel_centres(features))

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B = len(log_mel)
        return {
            "frequency": 1 + self.uniform(log_mel, -1, 1, B, 1) * self.settings["frequency"],
            "duration": 1 + self.uniform(log_mel, -1, 1, B, 1) * self.settings["time"],
            "shift_s": self.uniform(log_mel, -1, 1, B, 1) * self.settings["shift_s"],
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
    """Simulates another microphone or distance by a random gain over frequency, with `gain_db` standard deviation.

    The gain is linear between `knots`, which are equally spaced in mel bands.
    """

    knots = 6

    def __init__(self, generator, gain_db: float):
        super().__init__(generator, gain_db=gain_db)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"gains_db": self.normal(log_mel, len(log_mel), 1, self.knots) * self.settings["gain_db"]}

    def distort(self, log_mel, gains_db) -> torch.Tensor:
        """Gains in dB at the knots, (B, 1, knots)."""
        return log_mel + _over_bands(gains_db, log_mel.shape[1])


class Reverberation(Augmentation):
    """Simulates a room: after the direct sound, the energy in each band decays exponentially, by 60 dB in `rt60_s`.

    The total energy of the tail is `direct_to_reverberant_db` below that of the direct sound. Both settings are ranges,
    (lowest, highest).
    """

    def __init__(self, generator, features: FeatureSettings, rt60_s: Range, direct_to_reverberant_db: Range):
        super().__init__(generator, rt60_s=rt60_s, direct_to_reverberant_db=direct_to_reverberant_db)
        self.frame_s = features.hop_length / features.sample_rate

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: self.uniform(log_mel, *span, len(log_mel), 1) for name, span in self.settings.items()}

    def distort(self, log_mel, rt60_s, direct_to_reverberant_db) -> torch.Tensor:
        """Seconds and dB, (B, 1) each."""
        B, M, T = log_mel.shape
        n_taps = math.ceil(self.settings["rt60_s"][1] / self.frame_s)
        decay = 10 ** (-6 * torch.arange(1, n_taps + 1, device=log_mel.device) * self.frame_s / rt60_s)  # (B, taps)
        tail = decay / decay.sum(dim=1, keepdim=True) * power(-direct_to_reverberant_db)
        impulse = torch.cat([torch.ones_like(rt60_s), tail], dim=1)  # (B, 1 + taps)
        dry = F.pad(power(log_mel), (n_taps, 0)).transpose(0, 1)  # (M, B, taps + T)
        reverberant = F.conv1d(dry, impulse.flip(1)[:, None], groups=B).transpose(0, 1)
        return decibels(reverberant)


class BandLimit(Augmentation):
    """Simulates a telephone or low-rate codec by silence above a cutoff from the range `cutoff_hz`."""

    def __init__(self, generator, features: FeatureSettings, cutoff_hz: Range):
        super().__init__(generator, cutoff_hz=cutoff_hz)
        self.register_buffer("centres", _mel_centres(features))

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"cutoff_hz": self.uniform(log_mel, *self.settings["cutoff_hz"], len(log_mel), 1)}

    def distort(self, log_mel, cutoff_hz) -> torch.Tensor:
        """Cutoff in Hz, (B, 1)."""
        cut = self.centres > cutoff_hz  # (B, M)
        return log_mel.masked_fill(cut[:, :, None], _SILENCE_DB)


class Gate(Augmentation):
    """Simulates an audio editor or a noise gate: digital silence before and after the audible part.

    The audible part is from the first to the last frame within a number of dB, from the range `depth_db`, of the
    loudest frame.
    """

    def __init__(self, generator, depth_db: Range):
        super().__init__(generator, depth_db=depth_db)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"depth_db": self.uniform(log_mel, *self.settings["depth_db"], len(log_mel), 1)}

    def distort(self, log_mel, depth_db) -> torch.Tensor:
        """Depth in dB, (B, 1)."""
        level = decibels(power(log_mel).mean(dim=1))  # (B, T)
        loud = level > level.amax(dim=1, keepdim=True) - depth_db
        heard = (loud.cumsum(dim=1) > 0) & (loud.flip(1).cumsum(dim=1).flip(1) > 0)
        return log_mel.masked_fill(~heard[:, None], _SILENCE_DB)


class Mask(Augmentation):
    """SpecAugment (Park et al., 2019): one mask of up to `bands` bands, one of up to `frames` frames, at the mean."""

    def __init__(self, generator, bands: int, frames: int):
        super().__init__(generator, bands=bands, frames=frames)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B, M, T = log_mel.shape
        drawn = {}
        for name, size in (("bands", M), ("frames", T)):
            width = self.uniform(log_mel, 0, self.settings[name], B, 1)
            start = self.uniform(log_mel, 0, 1, B, 1) * (size - width)
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
    """Noise with a random spectrum that fluctuates at the rate of syllables, `snr_db` = (least, most) below the clip.

    Its level in dB is the sum of three random components, with these standard deviations: `colour_db` over frequency,
    linear between `knots`; up to `swell_db` over time, linear between points `syllable_frames` apart (8 per second with
    frames of 20 ms), in `swell_bands` parts of the spectrum; and `grain_db` in every band and frame, as in the mel
    bands of steady noise.
    """

    knots, swell_bands, syllable_frames, grain_db = 5, 8, 6, 3.0

    def __init__(self, generator, snr_db: Range, colour_db: float, swell_db: float):
        super().__init__(generator, snr_db=snr_db, colour_db=colour_db, swell_db=swell_db)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B, M, T = log_mel.shape
        return {
            "colour_db": self.normal(log_mel, B, 1, self.knots) * self.settings["colour_db"],
            "swell": self.normal(log_mel, B, self.swell_bands, T // self.syllable_frames),
            "swell_db": self.uniform(log_mel, 0, self.settings["swell_db"], B, 1, 1),
            "grain_db": self.normal(log_mel, B, M, T) * self.grain_db,
            "snr_db": self.uniform(log_mel, *self.settings["snr_db"], B, 1, 1),
        }

    def distort(self, log_mel, colour_db, swell, swell_db, grain_db, snr_db) -> torch.Tensor:
        """Colour (B, 1, knots), swell (B, bands, syllables) with deviation 1, its strength and the ratio (B, 1, 1)."""
        B, M, T = log_mel.shape
        swell = F.interpolate(swell, size=T, mode="linear")
        swell = F.interpolate(swell.transpose(1, 2), size=M, mode="linear").transpose(1, 2)  # (B, M, T)
        noise = _over_bands(colour_db, M) + swell * swell_db + grain_db
        return _mixed(log_mel, power(noise), snr_db)


class Babble(Augmentation):
    """`talkers` = (fewest, most) other people talking at once, equally loud, `snr_db` = (least, most) below the clip.

    They are chosen from `voices`, spectrograms (N, M, T or more) in dB.
    """

    talkers = (2, 6)

    def __init__(self, generator, voices: torch.Tensor, snr_db: Range):
        super().__init__(generator, snr_db=snr_db)
        self.register_buffer("voices", voices)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B, _, T = log_mel.shape
        fewest, most = self.talkers
        return {
            "who": self.integers(log_mel, 0, len(self.voices), B, most),
            "shift": self.integers(log_mel, 0, T, B, most),
            "n_talkers": self.integers(log_mel, fewest, most + 1, B, 1),
            "snr_db": self.uniform(log_mel, *self.settings["snr_db"], B, 1, 1),
        }

    def distort(self, log_mel, who, shift, n_talkers, snr_db) -> torch.Tensor:
        """Indices of voices and their first frames (B, V), the number that talk (B, 1), the ratio in dB (B, 1, 1)."""
        B, M, T = log_mel.shape
        talks = torch.arange(who.shape[1], device=log_mel.device) < n_talkers
        frames = (torch.arange(T, device=log_mel.device) + shift[..., None]) % T  # (B, V, T)
        speech = power(self.voices[who, :, :T].to(log_mel)).gather(3, frames[:, :, None].expand(-1, -1, M, -1))
        speech = speech / speech.mean(dim=(2, 3), keepdim=True) * talks[..., None, None]  # (B, V, M, T)
        return _mixed(log_mel, speech.sum(dim=1), snr_db)


class Sometimes(Augmentation):
    """Applies modules in sequence to each clip with a probability; the other clips are unchanged."""

    def __init__(self, generator, probability: float, *modules: nn.Module):
        super().__init__(generator, probability=probability)
        self.chain = nn.Sequential(*modules)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        chosen = self.uniform(log_mel, 0, 1, len(log_mel)) < self.settings["probability"]
        if not chosen.any():
            return log_mel
        changed = log_mel.clone()
        changed[chosen] = self.chain(log_mel[chosen])
        return changed


def _mixed(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """Add noise, as power (B, M, T), to spectrograms in dB (B, M, T), with mean power `snr_db` (B, 1, 1) below."""
    speech = power(log_mel)
    gain = speech.mean(dim=(1, 2), keepdim=True) / noise.mean(dim=(1, 2), keepdim=True) / power(snr_db)
    return decibels(speech + gain * noise)


def _mel_centres(features: FeatureSettings) -> torch.Tensor:
    """The centre of each mel band in Hz, (M,)."""
    edges = librosa.mel_frequencies(features.n_mels + 2, fmin=features.f_min, fmax=features.f_max)
    return torch.from_numpy(edges[1:-1]).float()


def _over_bands(knots: torch.Tensor, n_bands: int) -> torch.Tensor:
    """Linear interpolation (B, 1, knots) → (B, n_bands, 1); the first and last knots are the first and last bands."""
    return F.interpolate(knots, size=n_bands, mode="linear", align_corners=True).transpose(1, 2)


def power(level_db: torch.Tensor) -> torch.Tensor:
    return 10 ** (level_db / 10)


def decibels(powers: torch.Tensor) -> torch.Tensor:
    return 10 * powers.clamp(min=1e-10).log10()
