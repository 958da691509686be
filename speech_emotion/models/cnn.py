"""The network: MFCC in, one logit per emotion out.

B: clips, S: samples, C: coefficients, M: mel bands, T: frames, D: activations, K: emotions.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speech_emotion.models.features import MFCC, FeatureSettings


@dataclass(frozen=True)
class ModelSettings:
    """The network's shape; stored in every checkpoint."""

    n_classes: int
    n_mfcc: int
    n_mels: int
    n_frames: int
    n_cepstrum: int  # leading coefficients, the input of the cepstral stream
    channels: tuple[int, ...] = (32, 64, 96, 192)  # of the stem and of each residual block
    n_embedding: int = 128  # per time step, over all rows
    dropout: float = 0.3


class EmotionCNN(nn.Module):
    """Two residual CNNs on different views of the same MFCC; their logits are averaged.

    The cepstral stream sees the coefficients: first the envelope of the spectrum, then ever finer detail. The spectral
    stream sees the mel bands, by the inverse cosine transform; there, a change of pitch is a shift. The streams make
    different errors, so their mean is more accurate than either.
    """

    kind = "speech-emotion-cnn"  # the `format` of its checkpoints
    n_views = 2  # augmented versions of each clip in training, one per stream
    takes_statistics = False
    speech_only = False  # the default; the speech detector takes longer than this network, 3 ms a window

    def __init__(self, settings: ModelSettings, features: FeatureSettings):
        """Raises ValueError if the network's shape does not match the features."""
        super().__init__()
        shape, given = ((part.n_mfcc, part.n_mels, part.n_frames) for part in (settings, features))
        if shape != given:
            raise ValueError("a network has one input per feature")
        self.settings = settings
        self.features = features
        self.front_end = MFCC(features)  # (B, S) → (B, C, T); has no weights, and is not in the checkpoint
        self.spectral = Stream(settings.n_mels, settings)
        self.cepstral = Stream(settings.n_cepstrum, settings)

    @classmethod
    def for_features(cls, features: FeatureSettings, n_classes: int, **settings) -> "EmotionCNN":
        """An untrained network; `settings` override the defaults of ModelSettings."""
        shape = (features.n_mfcc, features.n_mels, features.n_frames, min(features.n_mfcc, 40))
        return cls(ModelSettings(n_classes, *shape, **settings), features)

    @classmethod
    def from_settings(cls, settings: dict, features: dict) -> "EmotionCNN":
        """From the settings that a checkpoint stores."""
        return cls(ModelSettings(**settings), FeatureSettings(**features))

    def forward(self, mfcc: torch.Tensor) -> torch.Tensor:
        """(B, C, T) → logits (B, K)."""
        return self.classify(self.embed(mfcc))

    def embed(self, mfcc: torch.Tensor) -> torch.Tensor:
        """(B, C, T) → the inputs of both streams' last layers, concatenated: (B, D)."""
        return torch.cat(self._activations(mfcc, mfcc), dim=1)

    def classify(self, embedding: torch.Tensor, statistics: None = None) -> torch.Tensor:
        """(B, D) → logits (B, K)."""
        return self._logits(embedding.chunk(2, dim=1)).mean(dim=0)

    def logits_of_views(self, views: torch.Tensor) -> torch.Tensor:
        """(2, B, C, T), two augmented versions of each clip → the logits of each stream, (2, B, K)."""
        return self._logits(self._activations(*views))

    @torch.no_grad()
    def shift_logits(self, by: torch.Tensor) -> None:
        """Add (K,) to all logits from now on."""
        for stream in (self.spectral, self.cepstral):
            stream.classify.bias += by

    def for_inference(self) -> "EmotionCNN":
        """A faster copy with the same output, for inference only: batch normalisation is folded into the weights."""
        network = copy.deepcopy(self).eval()
        for module in list(network.modules()):
            for name, child in module.named_children():
                match list(child.children()):
                    case [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm]:
                        setattr(module, name, fuse_conv_bn_eval(convolution, norm))
        return network.to(memory_format=torch.channels_last)

    def _activations(self, for_spectral: torch.Tensor, for_cepstral: torch.Tensor) -> list[torch.Tensor]:
        spectrum = torch.einsum("mc,bct->bmt", self.front_end.dct, for_spectral)
        return [self.spectral(spectrum), self.cepstral(for_cepstral[:, : self.settings.n_cepstrum])]

    def _logits(self, activations: Iterable[torch.Tensor]) -> torch.Tensor:
        """The logits of each stream, (2, B, K)."""
        streams = (self.spectral, self.cepstral)
        return torch.stack([stream.classify(stream.dropout(x)) for stream, x in zip(streams, activations, strict=True)])


class Stream(nn.Module):
    """A residual CNN over rows and time; its last layer has weights for each time step of the window."""

    def __init__(self, n_rows: int, settings: ModelSettings):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_rows, affine=False)
        stem, *wider = settings.channels
        # Rows halve in every layer. Time is reduced to 80 ms per step at once, which saves most of the work.
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
        """(B, rows, T) → the input of `classify`: (B, n_embedding * T/16)."""
        x = self.norm(x)[:, None].contiguous(memory_format=torch.channels_last)  # (B, 1, rows, T)
        return self.join(self.blocks(x)).flatten(1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016); `stride` is (rows, time)."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]):
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(n_in, n_out, 3, stride, padding=1), nn.ReLU(), _convolution(n_out, n_out, 3, padding=1)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), _convolution(n_in, n_out, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x))


def _convolution(n_in: int, n_out: int, kernel, stride=1, padding=0) -> nn.Sequential:
    """A convolution with batch normalisation."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False), nn.BatchNorm2d(n_out))
