"""The network: MFCC in, one logit per emotion out.

B: clips, C: coefficients, M: mel bands, T: frames, K: emotions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from torch import nn

from speech_emotion.models.mfcc import FeatureSettings


@dataclass(frozen=True)
class ModelSettings:
    """The network's shape; stored in every checkpoint."""

    n_classes: int
    n_mfcc: int
    n_mels: int
    n_frames: int
    n_cepstrum: int  # leading coefficients that the cepstral stream sees
    channels: tuple[int, ...] = (32, 64, 96, 192)  # of the stem and of each residual block
    n_embedding: int = 128  # per time step, after the rows are joined
    dropout: float = 0.3

    @classmethod
    def for_features(cls, features: FeatureSettings, n_classes: int, **others) -> "ModelSettings":
        return cls(n_classes, features.n_mfcc, features.n_mels, features.n_frames, min(features.n_mfcc, 40), **others)


class EmotionCNN(nn.Module):
    """Two residual CNNs that look at the same MFCC in two ways, and whose logits are averaged.

    The cepstral stream sees the coefficients as they are: the outline of the spectrum first, then ever finer detail.
    The spectral stream undoes their cosine transform and sees frequencies, where another pitch is a shift. They err on
    different clips, so that their mean is right more often than either.
    """

    def __init__(self, settings: ModelSettings):
        super().__init__()
        self.settings = settings
        with torch.device("cpu"):  # computed on the meta device, it would make torch import its compiler, for a second
            dct = AF.create_dct(settings.n_mfcc, settings.n_mels, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)  # (M, C)
        self.spectral = Stream(settings.n_mels, settings)
        self.cepstral = Stream(settings.n_cepstrum, settings)

    def forward(self, mfcc: torch.Tensor) -> torch.Tensor:
        """(B, C, T) → logits (B, K)."""
        return self.streams(mfcc, mfcc).mean(dim=0)

    def streams(self, for_spectral: torch.Tensor, for_cepstral: torch.Tensor) -> torch.Tensor:
        """The logits of each stream, (2, B, K); in training each sees its own augmentation of the clips (B, C, T)."""
        spectrum = torch.einsum("mc,bct->bmt", self.dct, for_spectral)
        cepstrum = for_cepstral[:, : self.settings.n_cepstrum]
        return torch.stack([self.spectral(spectrum), self.cepstral(cepstrum)])


class Stream(nn.Module):
    """A residual CNN over rows and time whose last layer knows when in the window a thing happens."""

    def __init__(self, n_rows: int, settings: ModelSettings):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_rows, affine=False)
        stem, *wider = settings.channels
        # Rows halve in every layer. Time goes down to 80 ms at once: most of the work would be in the fine frames.
        strides = [(2, 1)] + [(2, 2)] * (len(wider) - 1)
        blocks = map(ResidualBlock, settings.channels, wider, strides)
        self.blocks = nn.Sequential(_convolution(1, stem, (5, 7), stride=(2, 4), padding=(2, 3)), nn.ReLU(), *blocks)
        height, width = n_rows, settings.n_frames
        for _ in settings.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
        self.join = nn.Sequential(_convolution(settings.channels[-1], settings.n_embedding, (height, 1)), nn.ReLU())
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(settings.n_embedding * width, settings.n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, rows, T) → logits (B, K)."""
        x = self.norm(x)[:, None].contiguous(memory_format=torch.channels_last)  # (B, 1, rows, T)
        x = self.join(self.blocks(x))  # (B, n_embedding, 1, T/16)
        return self.classify(self.dropout(x.flatten(1)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016); the stride is that of (rows, time)."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]):
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(n_in, n_out, 3, stride, padding=1), nn.ReLU(), _convolution(n_out, n_out, 3, padding=1)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), _convolution(n_in, n_out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x))


def _convolution(n_in: int, n_out: int, kernel, stride=1, padding=0) -> nn.Sequential:
    """A convolution and its normalisation."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False), nn.BatchNorm2d(n_out))
