"""The training loop: settings in, trained network and learning curve out.

B: clips, M: mel bands, C: coefficients, T: frames, K: emotions.
"""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.cnn import EmotionCNN, ModelSettings
from speech_emotion.models.mfcc import FeatureSettings
from speech_emotion.training.augment import BandLimit, Equaliser, Gate, Mask, Noise, Reverberation, Sometimes, Warp
from speech_emotion.training.cache import log_mels

MARGIN_S = 0.5  # spectrogram kept on both sides of the window, for the augmentation that moves it
SCHEDULES = ("one_cycle", "cosine_warm_restarts", "constant")


@dataclass(frozen=True)
class TrainingSettings:
    """What a run depends on besides its clips; stored in the checkpoint."""

    epochs: int = 150
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    schedule: str = "one_cycle"
    label_smoothing: float = 0.1
    mixup: float = 0.2  # alpha of the Beta distribution of the weights; 0 is off
    ema_decay: float = 0.995  # per step; the averaged weights are the result
    augment: bool = True
    seed: int = 0


def augmentation(features: FeatureSettings, generator: torch.Generator) -> nn.Sequential:
    """What happens to every training clip, anew in every epoch, in the order in which the world does it."""
    return nn.Sequential(
        Warp(generator, features, frequency=0.1, time=0.1, shift_s=0.15),
        Sometimes(
            generator,
            0.6,
            Equaliser(generator, gain_db=3.0),
            Reverberation(generator, features, probability=0.2, rt60_s=0.6),
            Noise(generator, probability=0.5, snr_db=(5.0, 50.0)),
            BandLimit(generator, features, probability=0.1),
        ),
        Gate(generator, probability=0.3),
        Mask(generator, bands=10, frames=20),
    )


def train(
    training: pd.DataFrame,
    validation: pd.DataFrame,
    labels: list[str],
    settings: TrainingSettings,
    features: FeatureSettings,
    device: torch.device,
    cache_dir: str | Path,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train on one table of clips and watch another.

    Returns the checkpoint, with averaged weights, a temperature fitted on `validation` and every emotion supposed to be
    equally likely, and the history, without that: epoch, then loss and accuracy of both parts. The last epoch counts,
    whatever the validation part says of it.
    """
    torch.manual_seed(settings.seed)  # the network's first weights, dropout, mixup
    generator = torch.Generator().manual_seed(settings.seed)
    augment = augmentation(features, generator) if settings.augment else Warp(generator, features, 0.0, 0.0, 0.0)
    augment = augment.to(device)
    shape = ModelSettings.for_features(features, n_classes=len(labels))
    network = EmotionCNN(shape, features).to(device, memory_format=torch.channels_last)
    front_end = network.front_end
    average = copy.deepcopy(network).eval()

    wide = log_mels(training, features, MARGIN_S, cache_dir).to(device)
    targets = _targets(training, labels).to(device)
    held_out = log_mels(validation, features, 0.0, cache_dir).to(device)
    held_out_targets = _targets(validation, labels).to(device)
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
                # Each stream of the network sees the clips in its own augmentation, blended in the same pairs.
                views = [front_end.from_log_mel(augment(wide[batch].float())) for _ in range(2)]
                inputs = torch.stack(views)  # (2, B, C, T)
                soft = F.one_hot(targets[batch], len(labels)).float()  # (B, K)
                if settings.mixup:
                    inputs, soft = _mix(inputs, soft, settings.mixup, generator)
                with _autocast(device):
                    logits = network.logits_of_views(inputs).float()  # (2, B, K)
                smoothing = settings.label_smoothing
                loss = sum(F.cross_entropy(stream, soft, label_smoothing=smoothing) for stream in logits) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                step += 1
                _update_average(average, network, min(settings.ema_decay, step / (step + 10)))
                losses += loss.item() * len(batch)
                correct += (logits.mean(0).argmax(1) == soft.argmax(1)).sum().item()
            row = {"epoch": epoch, "training_loss": losses / len(order), "training_accuracy": correct / len(order)}
            logits = _logits(average, held_out)
            row["validation_loss"] = F.cross_entropy(logits, held_out_targets).item()
            row["validation_accuracy"] = (logits.argmax(1) == held_out_targets).float().mean().item()
            history.append(row)
            epochs.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})

    temperature = fit_temperature(logits.cpu(), held_out_targets.cpu())
    _remove_prior(average, targets, temperature)
    return Checkpoint(average.cpu(), labels, temperature, training=asdict(settings)), pd.DataFrame(history)


@torch.no_grad()
def _remove_prior(network: EmotionCNN, targets: torch.Tensor, temperature: float) -> None:
    """Logit adjustment (Menon et al., 2021): divide the probabilities by the shares of the emotions in training.

    RAVDESS has half as many neutral clips as happy ones; a user's recordings need not. The last biases change, no more.
    """
    counts = torch.bincount(targets, minlength=network.settings.n_classes).clamp(min=1)
    network.shift_logits(-temperature * (counts / len(targets)).log())


@torch.inference_mode()
def _logits(network: EmotionCNN, spectrograms: torch.Tensor) -> torch.Tensor:
    """Unaugmented clips (N, M, T) through the network: (N, K)."""
    return torch.cat([network(network.front_end.from_log_mel(batch.float())) for batch in spectrograms.split(128)])


def _targets(table: pd.DataFrame, labels: list[str]) -> torch.Tensor:
    return torch.tensor([labels.index(emotion) for emotion in table["emotion"]])


def _mix(inputs, targets, alpha: float, generator: torch.Generator):
    """mixup (Zhang et al., 2018): every clip of (2, B, C, T) blended with another, one weight for the batch."""
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(targets), generator=generator).to(targets.device)
    return weight * inputs + (1 - weight) * inputs[:, other], weight * targets + (1 - weight) * targets[other]


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on the matrices and kernels, none on biases and normalisation."""
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
    if settings.schedule == "cosine_warm_restarts":  # cycles of 1/7, 2/7 and 4/7 of the run
        return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=steps // 7 + 1, T_mult=2)
    if settings.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"schedule is {settings.schedule!r}, expected one of {', '.join(SCHEDULES)}")


def _autocast(device: torch.device):
    """bfloat16 where the processor multiplies it in hardware: two to three times faster on a CPU that has it."""
    if device.type == "cpu":
        in_hardware = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        in_hardware = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=in_hardware)


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and statistics."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
