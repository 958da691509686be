"""Augmentations that add background noise or voices to log-mel spectrograms.

B: clips, M: mel bands, T: frames, V: background voices.
"""

import torch
import torch.nn.functional as F

from speech_emotion.training.distortions import Augmentation, decibels, over_bands, power


class Noise(Augmentation):
    """Noise with a random spectrum that fluctuates at the rate of syllables, `snr_db` = (least, most) below the clip.

    Its level in dB is the sum of three random components, with these standard deviations: `colour_db` over frequency,
    linear between `knots`; up to `swell_db` over time, linear between points `syllable_frames` apart (8 per second with
    frames of 20 ms), in `swell_bands` parts of the spectrum; and `grain_db` in each band and frame, as in the mel bands
    of steady noise.
    """

    def __init__(
        self,
        generator,
        snr_db: tuple[float, float],
        colour_db: float,
        swell_db: float,
        grain_db: float = 3.0,
        knots: int = 5,
        swell_bands: int = 8,
        syllable_frames: int = 6,
    ):
        super().__init__(
            generator, snr_db=snr_db, colour_db=colour_db, swell_db=swell_db, grain_db=grain_db, knots=knots,
            swell_bands=swell_bands, syllable_frames=syllable_frames,
        )  # fmt: skip

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B, M, T = log_mel.shape
        settings = self.settings
        return {
            "colour_db": self.normal(log_mel, B, 1, settings["knots"]) * settings["colour_db"],
            "swell": self.normal(log_mel, B, settings["swell_bands"], T // settings["syllable_frames"]),
            "swell_db": self.uniform(log_mel, 0, settings["swell_db"], B, 1, 1),
            "grain_db": self.normal(log_mel, B, M, T) * settings["grain_db"],
            "snr_db": self.uniform(log_mel, *settings["snr_db"], B, 1, 1),
        }

    def distort(
        self,
        log_mel: torch.Tensor,
        colour_db: torch.Tensor,
        swell: torch.Tensor,
        swell_db: torch.Tensor,
        grain_db: torch.Tensor,
        snr_db: torch.Tensor,
    ) -> torch.Tensor:
        """Colour (B, 1, knots), swell (B, bands, syllables) with deviation 1, its strength and the ratio (B, 1, 1)."""
        B, M, T = log_mel.shape
        swell = F.interpolate(swell, size=T, mode="linear")
        swell = F.interpolate(swell.transpose(1, 2), size=M, mode="linear").transpose(1, 2)  # (B, M, T)
        noise = over_bands(colour_db, M) + swell * swell_db + grain_db
        return _mixed(log_mel, power(noise), snr_db)


class Babble(Augmentation):
    """`talkers` = (fewest, most) other people talking at once, equally loud, `snr_db` = (least, most) below the clip.

    They are chosen from `voices`, spectrograms (N, M, T or more) in dB.
    """

    def __init__(self, generator, voices: torch.Tensor, snr_db: tuple[float, float], talkers: tuple[int, int] = (2, 6)):
        super().__init__(generator, snr_db=snr_db, talkers=talkers)
        self.register_buffer("voices", voices)

    def draw(self, log_mel: torch.Tensor) -> dict[str, torch.Tensor]:
        B, _, T = log_mel.shape
        fewest, most = self.settings["talkers"]
        return {
            "who": self.integers(log_mel, 0, len(self.voices), B, most),
            "shift": self.integers(log_mel, 0, T, B, most),
            "n_talkers": self.integers(log_mel, fewest, most + 1, B, 1),
            "snr_db": self.uniform(log_mel, *self.settings["snr_db"], B, 1, 1),
        }

    def distort(
        self,
        log_mel: torch.Tensor,
        who: torch.Tensor,
        shift: torch.Tensor,
        n_talkers: torch.Tensor,
        snr_db: torch.Tensor,
    ) -> torch.Tensor:
        """Indices of voices and their first frames (B, V), the number that talk (B, 1), the ratio in dB (B, 1, 1)."""
        B, M, T = log_mel.shape
        talks = torch.arange(who.shape[1], device=log_mel.device) < n_talkers
        frames = (torch.arange(T, device=log_mel.device) + shift[..., None]) % T  # (B, V, T)
        others = power(self.voices[who, :, :T].to(log_mel)).gather(3, frames[:, :, None].expand(-1, -1, M, -1))
        others = others / others.mean(dim=(2, 3), keepdim=True) * talks[..., None, None]  # (B, V, M, T)
        return _mixed(log_mel, others.sum(dim=1), snr_db)


def _mixed(log_mel: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
    """Add noise, as power (B, M, T), to spectrograms in dB (B, M, T), with mean power `snr_db` (B, 1, 1) below."""
    speech = power(log_mel)
    gain = speech.mean(dim=(1, 2), keepdim=True) / noise.mean(dim=(1, 2), keepdim=True) / power(snr_db)
    return decibels(speech + gain * noise)
