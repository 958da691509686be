"""The front end and the first blocks of Whisper's encoder (Radford et al., 2022), with OpenAI's parameter names.

Unlike in Whisper, windows are not padded to 30 s: the encoder sees only the part that is classified.
B: recordings, S: samples, M: mel bands, T: frames of 20 ms, D: width.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.models.log_mel import LogMel

_HEAD_WIDTH = 64
_FAINTEST = 1e-5  # peak, -100 dBFS; fainter windows are not scaled up to 1


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


class WhisperEncoder(nn.Module):
    """Log-mel spectrogram → the hidden states after each of the first `n_blocks` blocks."""

    def __init__(self, n_blocks: int, n_positions: int, n_mels: int = 80, width: int = 512):
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(n_positions, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(n_blocks))

    def forward(self, log_mel: torch.Tensor) -> list[torch.Tensor]:
        """(B, M, 2 T) → (B, T, D) after each block; T is at most `n_positions`."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(log_mel)))).mT.contiguous()  # (B, T, D); else each block copies it
        x = x + self.positional_embedding[: x.shape[1]]
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return states


class Block(nn.Module):
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
