"""What other voices, rooms and microphones do to log-mel spectrograms.

Each is an nn.Module that maps a batch (B, M, T) in dB to a batch and draws anew for every clip.
B: clips, M: mel bands, T: frames, V: other voices. All randomness comes from the torch.Generator that is passed in.
"""

import math

import librosa
import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.models.mfcc import FeatureSettings

_SILENCE_DB = -100.0  # where MFCC.log_mel ends, too


class Augmentation(nn.Module):
    """Base: keeps the settings for `repr` and the generator for the draws."""

    def __init__(self, generator: torch.Generator, **settings):
        super().__init__()
        self.generator = generator
        self.settings = settings

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
        self.register_buffer("centres", _mel_centres(features), persistent=False)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        B, M, T_wide = log_mel.shape
        T = self.features.n_frames
        settings = self.settings
        frequency = 1 + self.uniform(log_mel, -1, 1, B, 1) * settings["frequency"]
        duration = 1 + self.uniform(log_mel, -1, 1, B, 1) * settings["time"]
        frame_rate = self.features.sample_rate / self.features.hop_length
        shift = self.uniform(log_mel, -1, 1, B, 1) * settings["shift_s"] * frame_rate

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
    """Another microphone or distance: a smooth random curve over frequency, `gain_db` standard deviation."""

    KNOTS = 6

    def __init__(self, generator, gain_db: float):
        super().__init__(generator, gain_db=gain_db)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        B, M, _ = log_mel.shape
        knots = self.normal(log_mel, B, 1, self.KNOTS) * self.settings["gain_db"]
        curve = F.interpolate(knots, size=M, mode="linear", align_corners=True)  # (B, 1, M)
        return log_mel + curve.transpose(1, 2)


class Reverberation(Augmentation):
    """A room: the energy in each band decays exponentially, 60 dB in up to `rt60_s`, below the direct sound."""

    def __init__(self, generator, features: FeatureSettings, rt60_s: float):
        super().__init__(generator, rt60_s=rt60_s)
        self.frame_s = features.hop_length / features.sample_rate

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        B, M, T = log_mel.shape
        n_taps = math.ceil(self.settings["rt60_s"] / self.frame_s)
        rt60 = self.uniform(log_mel, 0.15, self.settings["rt60_s"], B, 1)
        direct_to_reverberant = self.uniform(log_mel, -3, 12, B, 1)  # dB
        decay = 10 ** (-6 * torch.arange(1, n_taps + 1, device=log_mel.device) * self.frame_s / rt60)  # (B, taps)
        tail = decay / decay.sum(dim=1, keepdim=True) * _power(-direct_to_reverberant)
        impulse = torch.cat([torch.ones_like(rt60), tail], dim=1)  # (B, 1 + taps)
        power = F.pad(_power(log_mel), (n_taps, 0)).transpose(0, 1)  # (M, B, taps + T)
        reverberant = F.conv1d(power, impulse.flip(1)[:, None], groups=B).transpose(0, 1)
        return _decibels(reverberant)


class Noise(Augmentation):
    """Noise of a random colour that swells at the pace of syllables, `snr_db` = (least, most) below the mean power."""

    def __init__(self, generator, snr_db: tuple[float, float]):
        super().__init__(generator, snr_db=snr_db)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        B, M, T = log_mel.shape
        knots = self.normal(log_mel, B, 1, 5) * 8
        colour = F.interpolate(knots, size=M, mode="linear", align_corners=True).transpose(1, 2)  # (B, M, 1)
        swell = F.interpolate(self.normal(log_mel, B, 8, T // 6), size=T, mode="linear")  # syllables at 8 Hz
        swell = F.interpolate(swell.transpose(1, 2), size=M, mode="linear").transpose(1, 2)  # (B, M, T)
        swell = swell * self.uniform(log_mel, 0, 8, B, 1, 1)
        grain = self.normal(log_mel, B, M, T) * 3  # a mel band of noise fluctuates by about that much
        noise = colour + swell + grain
        return _mixed(log_mel, _power(noise), self.uniform(log_mel, *self.settings["snr_db"], B, 1, 1))


class Babble(Augmentation):
    """Two to six others who talk at once, equally loud, `snr_db` = (least, most) below the mean power.

    `voices` are (N, M, T or more) in dB.
    """

    MOST = 6

    def __init__(self, generator, voices: torch.Tensor, snr_db: tuple[float, float]):
        super().__init__(generator, snr_db=snr_db)
        self.register_buffer("voices", voices, persistent=False)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        B, M, T = log_mel.shape
        who, shift = (self.integers(log_mel, 0, end, B, self.MOST) for end in (len(self.voices), T))
        talks = torch.arange(self.MOST, device=log_mel.device) < self.integers(log_mel, 2, self.MOST + 1, B, 1)
        frames = (torch.arange(T, device=log_mel.device) + shift[..., None]) % T  # (B, V, T)
        others = _power(self.voices[who, :, :T].to(log_mel)).gather(3, frames[:, :, None].expand(-1, -1, M, -1))
        others = others / others.mean(dim=(2, 3), keepdim=True) * talks[..., None, None]  # (B, V, M, T)
        return _mixed(log_mel, others.sum(dim=1), self.uniform(log_mel, *self.settings["snr_db"], B, 1, 1))


class BandLimit(Augmentation):
    """A telephone or a low-rate codec: nothing above a random 3 to 8 kHz."""

    def __init__(self, generator, features: FeatureSettings):
        super().__init__(generator)
        self.register_buffer("centres", _mel_centres(features), persistent=False)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        cut = self.centres > self.uniform(log_mel, 3_000, 8_000, len(log_mel), 1)  # (B, M)
        return log_mel.masked_fill(cut[:, :, None], _SILENCE_DB)


class Gate(Augmentation):
    """An editor or a noise gate: digital silence before and after what is heard.

    Heard is what lies between the first and the last frame within a random 30 to 50 dB of the loudest.
    """

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        level = _decibels(_power(log_mel).mean(dim=1))  # (B, T)
        loud = level > level.amax(dim=1, keepdim=True) - self.uniform(log_mel, 30, 50, len(log_mel), 1)
        heard = (loud.cumsum(dim=1) > 0) & (loud.flip(1).cumsum(dim=1).flip(1) > 0)
        return log_mel.masked_fill(~heard[:, None], _SILENCE_DB)


class Mask(Augmentation):
    """SpecAugment (Park et al., 2019): one band of up to `bands` and one stretch of up to `frames`, at the mean."""

    def __init__(self, generator, bands: int, frames: int):
        super().__init__(generator, bands=bands, frames=frames)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        mean = log_mel.mean(dim=(1, 2), keepdim=True)
        for dim, widest in ((1, self.settings["bands"]), (2, self.settings["frames"])):
            B, size = len(log_mel), log_mel.shape[dim]
            width = self.uniform(log_mel, 0, widest, B, 1)
            start = self.uniform(log_mel, 0, 1, B, 1) * (size - width)
            position = torch.arange(size, device=log_mel.device)
            inside = (position >= start) & (position < start + width)  # (B, size)
            log_mel = torch.where(inside.unsqueeze(3 - dim), mean, log_mel)
        return log_mel


def _mel_centres(features: FeatureSettings) -> torch.Tensor:
    """The centre of each mel band in Hz, (M,)."""
    edges = librosa.mel_frequencies(features.n_mels + 2, fmin=features.f_min, fmax=features.f_max)
    return torch.from_numpy(edges[1:-1]).float()


def _mixed(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """Spectrograms in dB and the power of noise, (B, M, T), `snr_db` (B, 1, 1) apart in the mean → dB."""
    speech = _power(log_mel)
    gain = speech.mean(dim=(1, 2), keepdim=True) / noise.mean(dim=(1, 2), keepdim=True) / _power(snr_db)
    return _decibels(speech + gain * noise)


def _power(decibels: torch.Tensor) -> torch.Tensor:
    return 10 ** (decibels / 10)


def _decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * power.clamp(min=1e-10).log10()
