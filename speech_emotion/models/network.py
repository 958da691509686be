"""What every network offers, and the networks there are.

Another network is a file in this folder with such a class, a file of the same name in speech_emotion/training with its
recipe, and an entry in NETWORKS. If its settings have new names, checkpoint.py says how large they may be in a file.
B: windows, S: samples, M: mel bands, T: frames, D: size of the embedding, K: emotions.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import ClassVar, Protocol

import torch

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.corpora.labels import spelling
from speech_emotion.models.any_voice import AnyVoice
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import LogMel


class Network(Protocol):
    """A torch.nn.Module that can be stored in checkpoints, used by Predictor and exported to ONNX."""

    kind: ClassVar[str]  # the `format` of its checkpoints
    takes_statistics: ClassVar[bool]  # whether `classify` can standardise by a speaker's statistics, for --adapt
    speech_only: ClassVar[bool]  # whether windows without speech are left out by default
    settings: object  # its shape, a dataclass that the checkpoint stores
    features: WindowSettings  # and n_mels, n_frames; stored too
    front_end: LogMel  # (B, S) → the network's input; not in the checkpoint, as it has no weights

    @classmethod
    def from_settings(cls, settings: dict, features: dict) -> "Network":
        """An untrained network of the shape that a checkpoint stores."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """What front_end returns → logits (B, K)."""

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """What front_end returns → (B, D)."""

    def classify(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D) → logits (B, K); `statistics` (B, 2, D) only where takes_statistics."""

    def for_inference(self) -> "Network":
        """A copy that returns the same logits, faster."""

    state_dict: Callable[..., dict[str, torch.Tensor]]
    load_state_dict: Callable


NETWORKS: dict[str, type[Network]] = {"cnn": EmotionCNN, "any-voice": AnyVoice}  # by the name for train.py --network


def calibrated(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (B, K) → probabilities (B, K), with the temperature of the checkpoint (Guo et al., 2017)."""
    return (logits / temperature).softmax(dim=1)


def choose_emotions(labels: Sequence[str], emotions: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The chosen labels in the order of `labels` (K), and which label counts for which of them: (K, chosen), 0 or 1.

    Where only one of neutral and calm is chosen, it gets the probability of both: RAVDESS is almost alone in telling
    them apart. Case and usual forms of RAVDESS's emotions do not matter: anger is angry. Without `emotions`, all labels
    are chosen. Raises ValueError for a label that the model does not have, and for fewer than two.
    """
    if not emotions:
        return list(labels), torch.eye(len(labels))
    spelled = dict(zip(emotions, map(spelling(labels), emotions), strict=True))
    if unknown := [emotion for emotion, label in spelled.items() if label not in labels]:
        near = get_close_matches(unknown[0].casefold(), labels, 1)
        remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(labels)}"
        raise ValueError(f"this model does not have the emotion {unknown[0]}; {remedy}")
    chosen = [label for label in labels if label in spelled.values()]
    if len(chosen) < 2:
        raise ValueError("at least two emotions are needed, for there to be a choice")
    alike = {"neutral": "calm", "calm": "neutral"}
    counts_for = [label if label in chosen else alike.get(label) for label in labels]
    return chosen, torch.tensor([[float(label == emotion) for emotion in chosen] for label in counts_for])


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA, else Apple silicon, else the CPU. Raises ValueError if `name` is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, is_available in available.items() if is_available)
    if not available[name]:
        raise ValueError(f"this machine has no {name} device; --device cpu always works")
    return torch.device(name)
