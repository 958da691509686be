"""The log-mel spectrogram that every front end begins with.

B: windows, S: samples, F: frequency bins, M: mel bands, T: frames.
"""

import torch
import torchaudio.functional as AF
from torch import nn


class LogMel(nn.Module):
    """A front end, in two steps between which training augments: samples → decibels → what the network sees.

    `features` has sample_rate, n_fft, hop_length, n_mels, f_min and f_max; the second step is that of who inherits.
    """

    pad_mode = "constant"  # what lies beyond the ends of the window

    def __init__(self, features):
        super().__init__()
        self.features = features
        bounds = (features.f_min, features.f_max, features.n_mels, features.sample_rate)
        with torch.device("cpu"):  # computed on the meta device, it would make torch import its compiler, for a second
            mel = AF.melscale_fbanks(features.n_fft // 2 + 1, *bounds, norm="slaney", mel_scale="slaney")
            taper = torch.hann_window(features.n_fft)
        heard = mel[: int(mel.any(dim=1).nonzero().max()) + 1]  # most bins lie above f_max: a third of the work
        self.register_buffer("mel", heard, persistent=False)  # (F, M)
        self.register_buffer("taper", taper, persistent=False)

    def log_mel(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → (B, M, T) in dB, absolute: what training caches and augments."""
        n_fft, hop_length = self.features.n_fft, self.features.hop_length
        spectrum = torch.stft(
            windows, n_fft, hop_length, window=self.taper, pad_mode=self.pad_mode, return_complex=True
        )
        spectrum = spectrum[:, : len(self.mel)].mT  # (B, T, F)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() takes the square root first
        return 10 * (power @ self.mel).mT.clamp(min=1e-10).log10()

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, T) in dB → what the network sees."""
        raise NotImplementedError

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, S) → what the network sees."""
        return self.from_log_mel(self.log_mel(windows))
