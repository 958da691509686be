"""A network for unseen voices: frozen blocks of Whisper's encoder, and two small classifiers on top.

B: windows, S: samples, M: mel bands, T: frames of 20 ms, N: windows of one voice, D: values of the embedding,
K: emotions.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.audio.stretches import HEARD
from speech_emotion.models.features import WhisperFeatures, WhisperLogMel

_LEAST_DEVIATION = 1e-3
_HEAD_WIDTH = 64
_FAR = 6.0  # standard deviations; inputs of the perceptron are clamped to this


@dataclass(frozen=True)
class AnyVoiceSettings:
    """The network's shape; stored in every checkpoint."""

    n_classes: int
    n_blocks: int = 4  # of the encoder
    width: int = 512
    hidden: int = 512  # units of the perceptron; 0 for no perceptron
    input_dropout: float = 0.3
    dropout: float = 0.5
    shrinkage: float = 10.0  # weight of the training statistics, in windows, when mixed with those of a group

    @property
    def n_embedding(self) -> int:
        return self.n_blocks * 2 * self.width


@dataclass(frozen=True)
class Moments:
    """Mean and variance (D,) of `n` embeddings, from which those of several groups follow (Chan et al., 1979)."""

    n: float
    mean: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def from_embeddings(cls, embeddings: torch.Tensor, weights: torch.Tensor | None = None) -> "Moments":
        """The moments of embeddings (N, D), whose `weights` (N,) are 1 by default."""
        weights = torch.ones(len(embeddings), device=embeddings.device) if weights is None else weights
        n = float(weights.sum())
        mean = weights @ embeddings / n
        return cls(n, mean, weights @ (embeddings - mean).square() / n)

    def pooled(self, other: "Moments") -> "Moments":
        """Of both groups together."""
        n = self.n + other.n
        share, gap = other.n / n, other.mean - self.mean
        between = share * (1 - share) * gap.square()
        return Moments(n, self.mean + share * gap, (1 - share) * self.variance + share * other.variance + between)

    def statistics(self) -> torch.Tensor:
        """Mean and deviation (2, D)."""
        return torch.stack([self.mean, self.variance.clamp(min=_LEAST_DEVIATION**2).sqrt()])


class AnyVoice(nn.Module):
    """Mean and standard deviation over the audible frames of each block, standardised → logits.

    They are standardised by the training clips or by a group of recordings. Speaker normalisation, by a voice's own
    recordings without labels, keeps what changes with the emotion (Pepino et al., 2021, for self-supervised
    embeddings).
    """

    kind = "speech-emotion-any-voice"  # the `format` of its checkpoints
    takes_statistics = True
    speech_only = True  # the default; the speech detector takes a fifteenth of this network's time

    def __init__(self, settings: AnyVoiceSettings, features: WhisperFeatures):
        super().__init__()
        self.settings = settings
        self.features = features
        self.front_end = WhisperLogMel(features)
        # Frozen, in half precision as published.
        self.encoder = WhisperEncoder(settings.n_blocks, features.n_frames // 2, features.n_mels, settings.width).half()
        self.register_buffer("mean", torch.zeros(settings.n_embedding))  # of the training embeddings
        self.register_buffer("deviation", torch.ones(settings.n_embedding))
        self.linear = nn.Linear(settings.n_embedding, settings.n_classes)
        self.perceptron = None
        if settings.hidden:
            self.perceptron = nn.Sequential(
                nn.Dropout(settings.input_dropout),
                nn.Linear(settings.n_embedding, settings.hidden),
                nn.GELU(),
                nn.Dropout(settings.dropout),
                nn.Linear(settings.hidden, settings.n_classes),
            )

    @classmethod
    def from_settings(cls, settings: dict, features: dict) -> "AnyVoice":
        """From the settings that a checkpoint stores."""
        return cls(AnyVoiceSettings(**settings), WhisperFeatures(**features))

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, 2 T) → logits (B, K)."""
        return self.classify(self.embed(log_mel))

    def embed(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, 2 T) in Whisper's scale → (B, D), mean and standard deviation over audible frames, for each block."""
        decibels = 40 * log_mel
        level = (10 ** (decibels / 10)).sum(dim=1).unflatten(1, (-1, 2)).mean(dim=2)  # (B, T), of power
        heard = level >= level.amax(dim=1, keepdim=True) * HEARD
        weight = (heard / heard.sum(dim=1, keepdim=True))[..., None]  # (B, T, 1)
        pooled = []
        for state in self.encoder(log_mel.to(self.encoder.conv1.weight.dtype)):
            state = state.float()  # (B, T, width)
            mean = (weight * state).sum(dim=1)
            variance = (weight * (state - mean[:, None]).square()).sum(dim=1)
            pooled += [mean, variance.sqrt()]
        return torch.cat(pooled, dim=1)

    def classify(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D) → logits (B, K); `statistics` (B, 2, D), mean and deviation, replace those of training."""
        x = self.standardise(embedding, statistics)
        logits = self.linear(x)
        if self.perceptron is None:
            return logits
        # The linear layer generalises to other corpora, the perceptron is better for voices of the training.
        return logits.log_softmax(dim=1) + self.perceptron(x.clamp(-_FAR, _FAR)).log_softmax(dim=1)

    def standardise(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D) → (B, D): minus the mean, divided by the deviation; `statistics` as in classify."""
        mean, deviation = (self.mean, self.deviation) if statistics is None else statistics.unbind(dim=1)
        return (embedding - mean) / deviation

    def statistics(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Mean and deviation (2, D) of a group (N, D), shrunk towards those of training if N is small."""
        return self.shrunk(Moments.from_embeddings(embeddings))

    def shrunk(self, group: "Moments") -> torch.Tensor:
        """`statistics` from the moments of a group."""
        return group.pooled(Moments(self.settings.shrinkage, self.mean, self.deviation.square())).statistics()

    def for_inference(self) -> "AnyVoice":
        """A copy in single precision, which is faster on CPUs."""
        return copy.deepcopy(self).float().eval()


class WhisperEncoder(nn.Module):
    """Log-mel spectrogram → the hidden states after each of the first `n_blocks` blocks."""

    def __init__(self, n_blocks: int, n_positions: int, n_mels: int = 80, width: int = 512):
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(n_positions, width))
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(n_blocks))

    def forward(self, log_mel: torch.Tensor) -> list[torch.Tensor]:
        """(B, M, 2 T) → (B, T, D) after each block; T is at most `n_positions`."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(log_mel)))).mT.contiguous()  # (B, T, D); else each block copies it
        x = x + self.positional_embedding[: x.shape[1]]
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return states


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron, each with layer normalisation before it and a residual connection."""

    def __init__(self, width: int):
        super().__init__()
        self.attn_ln = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.mlp_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) → (B, T, D)."""
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))


class Attention(nn.Module):
    """Self-attention over all frames, in heads of width 64."""

    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) → (B, T, D)."""
        projections = (self.query(x), self.key(x), self.value(x))
        heads = (projection.unflatten(2, (-1, _HEAD_WIDTH)).transpose(1, 2) for projection in projections)
        return self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


def load_encoder(path: str | Path, n_blocks: int, n_positions: int) -> WhisperEncoder:
    """The first blocks of the encoder in a file as OpenAI publishes it, such as base.pt.

    Raises ValueError for a file of another kind, or one with fewer blocks.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["model_state_dict"]
        width, n_mels, _ = weights["encoder.conv1.weight"].shape
        encoder = WhisperEncoder(n_blocks, n_positions, n_mels, width)
        state = {name: weights[f"encoder.{name}"].float() for name in encoder.state_dict()}
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises anything on a foreign file
        raise ValueError(f"{path} is not a Whisper model with {n_blocks} blocks, as OpenAI's base.pt is") from error
    state["positional_embedding"] = state["positional_embedding"][:n_positions]
    encoder.load_state_dict(state)
    return encoder.eval()
