"""Training of EmotionCNN: settings, recipe and training loop.

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
    split_prefix: ClassVar = "random"
    fold_prefix: ClassVar = "speaker"
    has_validation: ClassVar = True
    other_corpora: ClassVar = ()

    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @staticmethod
    def published_settings(shuffle_labels: bool, spoken: bool) -> TrainingSettings:
        """Fewer epochs for the control with shuffled labels, in which there is nothing to learn."""
        return replace(TrainingSettings(), epochs=30) if shuffle_labels else TrainingSettings()

    @classmethod
    def from_options(cls, data, shuffle_labels: bool, spoken: bool, **options) -> "EmotionCNNRecipe":
        return cls(replace(cls.published_settings(shuffle_labels, spoken), **options))

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
    kind: type[EmotionCNN] = EmotionCNN,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train a network of class `kind`, or one with its methods, on one table of clips; evaluate each epoch on another.

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

    wide = log_mels(training, network.front_end, MARGIN_S, cache_dir).to(device)  # (N, M, T + 2 margins)
    targets = target_indices(training["emotion"], labels).to(device)
    held_out = log_mels(validation, network.front_end, 0.0, cache_dir).to(device)
    held_out_targets = target_indices(validation["emotion"], labels).to(device)
    n_batches = len(training) // settings.batch_size or 1
    # Weight decay for matrices and kernels, but not for biases and normalisation.
    decayed = {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay}
    biases = {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, biases], lr=settings.learning_rate)
    scheduler = learning_rates(optimizer, settings, settings.epochs * n_batches)

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
                    inputs, soft = mixup(inputs, soft, settings.mixup, generator)
                with autocast(device):
                    logits = network.logits_of_views(inputs).float()  # (V, B, K)
                loss = F.cross_entropy(
                    logits.flatten(0, 1), soft.repeat(len(logits), 1), label_smoothing=settings.label_smoothing
                )
                _check_finite(loss.item(), epoch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                step += 1
                update_average(average, network, step, settings.ema_decay)
                losses += loss.item() * len(batch)
                correct += (logits.mean(0).argmax(1) == soft.argmax(1)).sum().item()
            with torch.inference_mode():
                logits = torch.cat([average(average.front_end.from_log_mel(x.float())) for x in held_out.split(128)])
            row = {
                "epoch": epoch,
                "training_loss": losses / len(order),
                "training_accuracy": correct / len(order),
                "validation_loss": F.cross_entropy(logits, held_out_targets).item(),
                "validation_accuracy": (logits.argmax(1) == held_out_targets).float().mean().item(),
            }
            _check_finite(row["validation_loss"], epoch)
            history.append(row)
            epochs.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})

    temperature = fit_temperature(logits.cpu(), held_out_targets.cpu())
    # Logit adjustment (Menon et al., 2021): RAVDESS has half as many neutral clips as happy ones, a user's recordings
    # may not. An emotion without a clip counts as one.
    shares = torch.bincount(targets, minlength=len(labels)).clamp(min=1) / len(targets)
    average.shift_logits(-temperature * shares.log())
    return Checkpoint(average.cpu(), labels, temperature, training=asdict(settings)), pd.DataFrame(history)


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} in epoch {epoch}; nothing was written")


def target_indices(emotions: Iterable[str], labels: list[str]) -> torch.Tensor:
    return torch.tensor([labels.index(emotion) for emotion in emotions])


def mixup(
    inputs: torch.Tensor, targets: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """mixup (Zhang et al., 2018): every clip of (V, B, C, T) is mixed with another, with one weight per batch."""
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    partner = torch.randperm(len(targets), generator=generator).to(targets.device)
    return weight * inputs + (1 - weight) * inputs[:, partner], weight * targets + (1 - weight) * targets[partner]


def learning_rates(optimizer: torch.optim.Optimizer, settings: TrainingSettings, n_steps: int):
    """The schedule of `settings` as a scheduler of torch, with a learning rate for each of `n_steps` batches."""
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, n_steps + 1, pct_start=0.15, div_factor=20, final_div_factor=1e3
        )
    # Three cycles: 1/7, 2/7 and 4/7 of the run.
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=n_steps // 7 + 1, T_mult=2)


def autocast(device: torch.device):
    """Autocast to bfloat16 if the hardware is faster with it: GPUs, and CPUs with AMX. Others take a third longer."""
    if device.type == "cpu":
        is_faster = torch.cpu._is_amx_tile_supported()
    else:
        is_faster = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=is_faster)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, longest_decay: float) -> None:
    """Exponential moving average of weights and statistics, with a shorter memory in the first steps (from 1)."""
    decay = min(longest_decay, step / (step + 10))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
