"""The log-mel spectrogram that every front end starts with.

B: windows, S: samples, F: frequency bins, M: mel bands, T: frames.
"""

import torch
import torchaudio.functional as AF
from torch import nn


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
