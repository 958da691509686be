"""What other voices, rooms and microphones do to log-mel spectrograms.

Each is an nn.Module that maps a batch (B, M, T) in dB to a batch: `draw` makes new random numbers for every clip, and
`distort` calculates what they do. All randomness comes from the torch.Generator that is passed in.
B: clips, M: mel bands, T: frames. What sounds in the background is in background.py.
"""

import math

import librosa
import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.models.mfcc import FeatureSettings

_SILENCE_DB = -100.0  # where MFCC.log_mel ends, too


class Augmentation(nn.Module):
    """Base class: keeps the settings for `repr` and the generator for the draws."""

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
        """The batch with these numbers; nothing in here is random."""
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
    """Speaking rate, pitch and formants, and where the speech sits: (B, M, T + 2 margins) → (B, M, T).

    Frequencies are multiplied by up to 1 ± `frequency`, durations by up to 1 ± `time`, and the window moves by up
    to `shift_s`; one interpolation does all three.
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

    def distort(self, log_mel, frequency: torch.Tensor, duration: torch.Tensor, shift_s: torch.Tensor) -> torch.Tensor:
        """Factors and seconds (B, 1); a window that moves by `shift_s` > 0 opens later."""
        B, M, T_wide = log_mel.shape
        T = self.features.n_frames
        shift = shift_s * (self.features.sample_rate / self.features.hop_length)  # frames

        # Source band for each target band: the fractional index of centre / factor.
        source_hz = self.centres / frequency  # (B, M)
        right = torch.searchsorted(self.centres, source_hz).clamp(1, M - 1)
        left_hz, right_hz = self.centres[right - 1], self.centres[right]
        band = right - 1 + (source_hz - left_hz) / (right_hz - left_hz)  # (B, M)
        # Source frame for each target frame, anchored where the window starts.
        margin = (T_wide - T) / 2
        frame = margin + shift + torch.arange(T, device=log_mel.device) / duration  # (B, T)

        grid = torch.stack(
            [
                (2 * frame / (T_wide - 1) - 1)[:, None, :].expand(B, M, T),
                (2 * band / (M - 1) - 1)[:, :, None].expand(B, M, T),
            ],
            dim=-1,
        )  # (B, M, T, 2)
        # Beyond the edge the edge goes on; as a padding mode, Apple silicon does not have that.
        return F.grid_sample(log_mel[:, None], grid.clamp(-1, 1), align_corners=True)[:, 0]


class Equaliser(Augmentation):
    """Another microphone or distance: a smooth random curve over frequency, `gain_db` standard deviation.

    The curve is straight between `knots` that are equally far apart in mel bands.
    """

    def __init__(self, generator, gain_db: float, knots: int = 6):
        super().__init__(generator, gain_db=gain_db, knots=knots)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"gains_db": self.normal(log_mel, len(log_mel), 1, self.settings["knots"]) * self.settings["gain_db"]}

    def distort(self, log_mel: torch.Tensor, gains_db: torch.Tensor) -> torch.Tensor:
        """Gains at the knots (B, 1, knots)."""
        return log_mel + over_bands(gains_db, log_mel.shape[1])


class Reverberation(Augmentation):
    """A room: after the direct sound, the energy in each band decays exponentially, by 60 dB in `rt60_s`.

    All of that tail together is `direct_to_reverberant_db` below the direct sound; both are (least, most).
    """

    def __init__(
        self,
        generator,
        features: FeatureSettings,
        rt60_s: tuple[float, float],
        direct_to_reverberant_db: tuple[float, float],
    ):
        super().__init__(generator, rt60_s=rt60_s, direct_to_reverberant_db=direct_to_reverberant_db)
        self.frame_s = features.hop_length / features.sample_rate

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: self.uniform(log_mel, *span, len(log_mel), 1) for name, span in self.settings.items()}

    def distort(
        self, log_mel: torch.Tensor, rt60_s: torch.Tensor, direct_to_reverberant_db: torch.Tensor
    ) -> torch.Tensor:
        """Seconds and dB (B, 1)."""
        B, M, T = log_mel.shape
        n_taps = math.ceil(self.settings["rt60_s"][1] / self.frame_s)
        decay = 10 ** (-6 * torch.arange(1, n_taps + 1, device=log_mel.device) * self.frame_s / rt60_s)  # (B, taps)
        tail = decay / decay.sum(dim=1, keepdim=True) * power(-direct_to_reverberant_db)
        impulse = torch.cat([torch.ones_like(rt60_s), tail], dim=1)  # (B, 1 + taps)
        dry = F.pad(power(log_mel), (n_taps, 0)).transpose(0, 1)  # (M, B, taps + T)
        reverberant = F.conv1d(dry, impulse.flip(1)[:, None], groups=B).transpose(0, 1)
        return decibels(reverberant)


class BandLimit(Augmentation):
    """A telephone or a low-rate codec: nothing above `cutoff_hz` = (least, most)."""

    def __init__(self, generator, features: FeatureSettings, cutoff_hz: tuple[float, float]):
        super().__init__(generator, cutoff_hz=cutoff_hz)
        self.register_buffer("centres", _mel_centres(features))

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"cutoff_hz": self.uniform(log_mel, *self.settings["cutoff_hz"], len(log_mel), 1)}

    def distort(self, log_mel: torch.Tensor, cutoff_hz: torch.Tensor) -> torch.Tensor:
        """Hz (B, 1)."""
        cut = self.centres > cutoff_hz  # (B, M)
        return log_mel.masked_fill(cut[:, :, None], _SILENCE_DB)


class Gate(Augmentation):
    """An editor or a noise gate: digital silence before and after what is heard.

    Heard is what lies between the first and the last frame within `depth_db` = (least, most) of the loudest.
    """

    def __init__(self, generator, depth_db: tuple[float, float]):
        super().__init__(generator, depth_db=depth_db)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"depth_db": self.uniform(log_mel, *self.settings["depth_db"], len(log_mel), 1)}

    def distort(self, log_mel: torch.Tensor, depth_db: torch.Tensor) -> torch.Tensor:
        """dB (B, 1)."""
        level = decibels(power(log_mel).mean(dim=1))  # (B, T)
        loud = level > level.amax(dim=1, keepdim=True) - depth_db
        heard = (loud.cumsum(dim=1) > 0) & (loud.flip(1).cumsum(dim=1).flip(1) > 0)
        return log_mel.masked_fill(~heard[:, None], _SILENCE_DB)


class Mask(Augmentation):
    """SpecAugment (Park et al., 2019): one band of up to `bands` and one stretch of up to `frames`, at the mean."""

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

    def distort(self, log_mel: torch.Tensor, bands: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Where the band and the stretch start and end, (2, B, 1) each."""
        mean = log_mel.mean(dim=(1, 2), keepdim=True)
        for dim, (start, end) in ((1, bands), (2, frames)):
            position = torch.arange(log_mel.shape[dim], device=log_mel.device)
            inside = (position >= start) & (position < end)  # (B, M or T)
            log_mel = torch.where(inside.unsqueeze(3 - dim), mean, log_mel)
        return log_mel


def _mel_centres(features: FeatureSettings) -> torch.Tensor:
    """The centre of each mel band in Hz, (M,)."""
    edges = librosa.mel_frequencies(features.n_mels + 2, fmin=features.f_min, fmax=features.f_max)
    return torch.from_numpy(edges[1:-1]).float()


def over_bands(knots: torch.Tensor, n_bands: int) -> torch.Tensor:
    """(B, 1, knots) → (B, n_bands, 1), straight in between; the first and the last band are knots."""
    return F.interpolate(knots, size=n_bands, mode="linear", align_corners=True).transpose(1, 2)


def power(level_db: torch.Tensor) -> torch.Tensor:
    return 10 ** (level_db / 10)


def decibels(powers: torch.Tensor) -> torch.Tensor:
    return 10 * powers.clamp(min=1e-10).log10()
