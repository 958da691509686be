"""A window of samples → the input of a network: MFCC, or the log-mel spectrogram in Whisper's scale.

B: windows, S: samples, F: frequency bins, M: mel bands, C: coefficients, T: frames.
"""

from dataclasses import dataclass

import torch
import torchaudio.functional as AF
from torch import nn

from speech_emotion.audio.windows import WindowSettings

_FAINTEST = 1e-5  # peak, -100 dBFS; fainter windows are not scaled up to 1


class LogMel(nn.Module):
    """A front end in two steps, samples → log-mel in dB → network input; training augments between them.

    `features` has sample_rate, n_fft, hop_length, n_mels, f_min and f_max. The second step, from_log_mel, is defined by
    subclasses.
    """

    pad_mode = "constant"  # padding at the ends of the window

    def __init__(self, features):
        super().__init__()
        self.features = features
        bounds = (features.f_min, features.f_max, features.n_mels, features.sample_rate)
        with torch.device("cpu"):  # on the meta device, torch would import its compiler, which takes a second
            mel = AF.melscale_fbanks(features.n_fft // 2 + 1, *bounds, norm="slaney", mel_scale="slaney")
            taper = torch.hann_window(features.n_fft)
        heard = mel[: int(mel.any(dim=1).nonzero().max()) + 1]  # bins above f_max are two thirds of the work
        self.register_buffer("mel", heard, persistent=False)  # (F, M)
        self.register_buffer("taper", taper, persistent=False)

    def log_mel(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → (B, M, T) in absolute dB, which training caches and augments."""
        n_fft, hop_length = self.features.n_fft, self.features.hop_length
        spectrum = torch.stft(
            windows, n_fft, hop_length, window=self.taper, pad_mode=self.pad_mode, return_complex=True
        )
        spectrum = spectrum[:, : len(self.mel)].mT  # (B, T, F)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() would take a square root first
        return 10 * (power @ self.mel).mT.clamp(min=1e-10).log10()

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, T) in dB → the input of the network."""
        raise NotImplementedError

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → the input of the network."""
        return self.from_log_mel(self.log_mel(windows))


@dataclass(frozen=True)
class FeatureSettings(WindowSettings):
    """How a recording becomes MFCC; stored in every checkpoint, so that eval.py needs no copy."""

    n_fft: int = 2048  # samples; 43 ms
    hop_length: int = 960  # samples; 20 ms
    n_mels: int = 64
    n_mfcc: int = 64  # as many as mel bands: no detail of the log-mel spectrum is lost
    f_min: float = 40.0  # Hz; below is hum, not voice
    f_max: float = 8_000.0  # Hz; a 16 kHz file still has these frequencies
    top_db: float = 80.0  # dB; the floor, below the loudest point

    @property
    def n_frames(self) -> int:
        return 1 + self.window_samples // self.hop_length


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients of level-normalised recordings.

    Equal to librosa.feature.mfcc(S=librosa.power_to_db(melspectrogram, ref=np.max, top_db=...)): the reference is the
    loudest point of each clip, so the recording level does not matter.
    B: clips, M: mel bands, C: coefficients, T: frames.
    """

    def __init__(self, features: FeatureSettings):
        super().__init__(features)
        with torch.device("cpu"):  # as in LogMel
            dct = AF.create_dct(features.n_mfcc, features.n_mels, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)  # (M, C)

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, T) in dB → (B, C, T)."""
        relative = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
        relative = relative.clamp(min=-self.features.top_db)
        return torch.einsum("bmt,mc->bct", relative, self.dct)


@dataclass(frozen=True)
class WhisperFeatures(WindowSettings):
    """How a recording becomes Whisper's input; all settings but the window are Whisper's own."""

    sample_rate: int = 16_000  # Hz
    n_fft: int = 400  # samples; 25 ms
    hop_length: int = 160  # samples; 10 ms
    n_mels: int = 80
    f_min: float = 0.0  # Hz
    f_max: float = 8_000.0  # Hz

    @property
    def n_frames(self) -> int:
        return self.window_samples // self.hop_length


class WhisperLogMel(LogMel):
    """Log-mel spectrogram in Whisper's scale: one unit is 40 dB, and the floor is 80 dB below the loudest point.

    Unlike in Whisper, every window is scaled to a peak of 1. Otherwise, the quieter a recording is, the more of it the
    absolute floor of -100 dB cuts off.
    """

    pad_mode = "reflect"

    def log_mel(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → (B, M, 2 T) in dB: without the last frame, which Whisper drops."""
        peak = windows.abs().amax(dim=1, keepdim=True)
        return super().log_mel(windows / peak.clamp(min=_FAINTEST))[..., :-1]

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, 2 T) in dB → the same in Whisper's scale."""
        floor = log_mel.amax(dim=(1, 2), keepdim=True) - 80
        return torch.maximum(log_mel, floor) / 40 + 1
