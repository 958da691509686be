"""The MFCC front end: window of samples → log-mel spectrogram → MFCC."""

from dataclasses import dataclass

import torch
import torchaudio.functional as AF
from torch import nn

from speech_emotion.audio.windows import WindowSettings


@dataclass(frozen=True)
class FeatureSettings(WindowSettings):
    """How a recording becomes MFCC; stored in every checkpoint, so that eval.py needs no copy."""

    n_fft: int = 2048  # samples; 43 ms
    hop_length: int = 960  # samples; 20 ms
    n_mels: int = 64
    n_mfcc: int = 64  # all of them: no detail of the log-mel spectrum is lost
    f_min: float = 40.0  # Hz; below it there is hum, not voice
    f_max: float = 8_000.0  # Hz; what a phone or a 16 kHz file still has
    top_db: float = 80.0  # dB below the loudest point, the floor

    @property
    def n_frames(self) -> int:
        return 1 + self.window_samples // self.hop_length


class MFCC(nn.Module):
    """Mel-frequency cepstral coefficients of level-normalised recordings.

    The same numbers as librosa.feature.mfcc(S=librosa.power_to_db(melspectrogram, ref=np.max, top_db=...)): the
    reference is each clip's own loudest point, so that the recording level does not matter.
    B: clips, S: samples, F: frequency bins, M: mel bands, C: coefficients, T: frames.
    """

    def __init__(self, features: FeatureSettings):
        super().__init__()
        self.features = features
        bounds = (features.f_min, features.f_max, features.n_mels, features.sample_rate)
        with torch.device("cpu"):  # computed on the meta device, it would make torch import its compiler, for a second
            mel = AF.melscale_fbanks(features.n_fft // 2 + 1, *bounds, norm="slaney", mel_scale="slaney")
            taper = torch.hann_window(features.n_fft)
            dct = AF.create_dct(features.n_mfcc, features.n_mels, norm="ortho")
        heard = mel[: int(mel.any(dim=1).nonzero().max()) + 1]  # most bins lie above f_max: a third of the work
        self.register_buffer("mel", heard, persistent=False)  # (F, M)
        self.register_buffer("taper", taper, persistent=False)
        self.register_buffer("dct", dct, persistent=False)  # (M, C)

    def log_mel(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → (B, M, T) in dB, absolute: what training caches and augments."""
        n_fft, hop_length = self.features.n_fft, self.features.hop_length
        spectrum = torch.stft(windows, n_fft, hop_length, window=self.taper, pad_mode="constant", return_complex=True)
        spectrum = spectrum[:, : len(self.mel)].mT  # (B, T, F)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() takes the square root first
        return 10 * (power @ self.mel).mT.clamp(min=1e-10).log10()

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, T) in dB → (B, C, T)."""
        relative = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
        relative = relative.clamp(min=-self.features.top_db)
        return torch.einsum("bmt,mc->bct", relative, self.dct)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → (B, C, T)."""
        return self.from_log_mel(self.log_mel(windows))
