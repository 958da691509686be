"""Training of EmotionCNN, or any other NetworkFromScratch: settings, recipe and training loop.

V: views, B: clips, M: mel bands, C: coefficients, T: frames, K: emotions.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings
from speech_emotion.models.network import NetworkFromScratch
from speech_emotion.training.augment import AugmentationSettings, augmentation
from speech_emotion.training.cache import log_mels
from speech_emotion.training.runs import Parts

MARGIN_S = 0.5  # extra spectrogram on both sides of the window, for random shifts
SCHEDULES = ("one_cycle", "cosine_warm_restarts")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; stored in the checkpoint."""

    epochs: int = 150
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    schedule: str = "one_cycle"
    label_smoothing: float = 0.1
    mixup: float = 0.2  # alpha of the Beta distribution of the weights; 0 to switch it off
    ema_decay: float = 0.995  # per step; the averaged weights are the result
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    seed: int = 0

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}, expected one of {', '.join(SCHEDULES)}")
        if self.epochs < 1:
            raise ValueError(f"training takes at least one epoch, not {self.epochs}")


@dataclass(frozen=True)
class EmotionCNNRecipe:
    """Training from scratch, on RAVDESS only; see speech_emotion.training.runs.Recipe."""

    network: ClassVar = EmotionCNN
    of_split: ClassVar = "random"
    of_fold: ClassVar = "speaker"
    has_validation: ClassVar = True
    others: ClassVar = ()

    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @staticmethod
    def published_settings(shuffle_labels: bool = False, spoken: bool = False) -> TrainingSettings:
        """Fewer epochs for the control with shuffled labels, in which there is nothing to learn."""
        return replace(TrainingSettings(), epochs=30) if shuffle_labels else TrainingSettings()

    @classmethod
    def from_options(
        cls, data, shuffle_labels: bool, spoken: bool, seed=None, epochs=None, schedule=None
    ) -> "EmotionCNNRecipe":
        given = {"seed": seed, "epochs": epochs, "schedule": schedule}
        given = {name: value for name, value in given.items() if value is not None}
        return cls(replace(cls.published_settings(shuffle_labels), **given))

    def fit(
        self, parts: Parts, clips: pd.DataFrame, labels: list[str], device: torch.device, cache_dir: str | Path
    ) -> tuple[Checkpoint, pd.DataFrame]:
        training, validation = parts["training"], parts["validation"]
        return train(training, validation, labels, self.settings, FeatureSettings(), device, cache_dir, self.network)


def train(
    training: pd.DataFrame,
    validation: pd.DataFrame,
    labels: list[str],
    settings: TrainingSettings,
    features: FeatureSettings,
    device: torch.device,
    cache_dir: str | Path,
    kind: type[NetworkFromScratch] = EmotionCNN,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train a network of class `kind` on one table of clips, and evaluate each epoch on another.

    Returns the checkpoint and the history (epoch, loss and accuracy of both parts). The checkpoint has the averaged
    weights after the last epoch, not those of the best epoch; its temperature is fitted on `validation`, and its logits
    assume equally likely emotions, unlike those of the history. Raises ValueError for a clip that cannot be read,
    before the first epoch, and for a loss that is not finite.
    """
    torch.manual_seed(settings.seed)  # initial weights, dropout, mixup
    generator = torch.Generator().manual_seed(settings.seed)
    augment = augmentation(settings.augmentation, features, generator).to(device)
    network = kind.for_features(features, len(labels)).to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()

    wide = log_mels(training, network.front_end, MARGIN_S, cache_dir).to(device)
    targets = target_indices(training["emotion"], labels).to(device)
    held_out = log_mels(validation, network.front_end, 0.0, cache_dir).to(device)
    held_out_targets = target_indices(validation["emotion"], labels).to(device)
    n_batches = len(training) // settings.batch_size or 1
    optimizer = torch.optim.AdamW(_parameter_groups(network, settings.weight_decay), lr=settings.learning_rate)
    scheduler = _scheduler(optimizer, settings, n_batches)

    history = []
    step = 0
    with tqdm(range(1, settings.epochs + 1), unit="epoch") as epochs:
        for epoch in epochs:
            losses, correct = 0.0, 0.0
            order = torch.randperm(len(training), generator=generator).to(device)
            for batch in order.tensor_split(n_batches):
                # Each view is augmented separately; mixup uses the same pairs for all.
                views = [network.front_end.from_log_mel(augment(wide[batch].float())) for _ in range(network.n_views)]
                inputs = torch.stack(views)  # (V, B, C, T)
                soft = F.one_hot(targets[batch], len(labels)).float()  # (B, K)
                if settings.mixup:
                    inputs, soft = _mix(inputs, soft, settings.mixup, generator)
                with autocast(device):
                    logits = network.logits_of_views(inputs).float()  # (V, B, K)
                loss = _loss(logits, soft, settings.label_smoothing)
                if not loss.isfinite():
                    raise ValueError(f"the loss is {loss.item()} in epoch {epoch}; nothing was written")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                step += 1
                _update_average(average, network, step, settings.ema_decay)
                losses += loss.item() * len(batch)
                correct += (logits.mean(0).argmax(1) == soft.argmax(1)).sum().item()
            row = {"epoch": epoch, "training_loss": losses / len(order), "training_accuracy": correct / len(order)}
            logits = _logits(average, held_out)
            row["validation_loss"] = F.cross_entropy(logits, held_out_targets).item()
            row["validation_accuracy"] = (logits.argmax(1) == held_out_targets).float().mean().item()
            if not math.isfinite(row["validation_loss"]):
                raise ValueError(f"the loss is {row['validation_loss']} in epoch {epoch}; nothing was written")
            history.append(row)
            epochs.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})

    temperature = fit_temperature(logits.cpu(), held_out_targets.cpu())
    average.shift_logits(-temperature * _log_shares(targets, len(labels)))
    return Checkpoint(average.cpu(), labels, temperature, training=asdict(settings)), pd.DataFrame(history)


def _log_shares(targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Log of the shares of emotions in the training clips, (K,), which is subtracted from the logits after training.

    Logit adjustment (Menon et al., 2021): RAVDESS has half as many neutral clips as happy ones, but a user's recordings
    may not.
    """
    return (torch.bincount(targets, minlength=n_classes).clamp(min=1) / len(targets)).log()


@torch.inference_mode()
def _logits(network: nn.Module, spectrograms: torch.Tensor) -> torch.Tensor:
    """Logits (N, K) of unaugmented clips (N, M, T)."""
    return torch.cat([network(network.front_end.from_log_mel(batch.float())) for batch in spectrograms.split(128)])


def target_indices(emotions: Iterable[str], labels: list[str]) -> torch.Tensor:
    return torch.tensor([labels.index(emotion) for emotion in emotions])


def _mix(inputs, targets, alpha: float, generator: torch.Generator):
    """mixup (Zhang et al., 2018): every clip of (V, B, C, T) is mixed with another, with one weight per batch."""
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(targets), generator=generator).to(targets.device)
    return weight * inputs + (1 - weight) * inputs[:, other], weight * targets + (1 - weight) * targets[other]


def _loss(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Mean cross entropy over views and clips; logits (V, B, K), soft targets (B, K)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.repeat(len(logits), 1), label_smoothing=label_smoothing)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for matrices and kernels, but not for biases and normalisation."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _scheduler(optimizer, settings: TrainingSettings, n_batches: int):
    """One learning rate per batch."""
    steps = settings.epochs * n_batches
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            settings.learning_rate,
            total_steps=steps + 1,
            pct_start=0.15,
            div_factor=20,
            final_div_factor=1e3,
        )
    # Three cycles: 1/7, 2/7 and 4/7 of the run.
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=steps // 7 + 1, T_mult=2)


def autocast(device: torch.device):
    """Autocast to bfloat16 if the hardware supports it: two to three times faster on such CPUs."""
    if device.type == "cpu":
        in_hardware = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        in_hardware = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=in_hardware)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, step: int, longest_decay: float) -> None:
    """Exponential moving average of weights and statistics, with a shorter memory in the first steps (from 1)."""
    decay = min(longest_decay, step / (step + 10))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
