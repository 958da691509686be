"""The fit of AnyVoice's head to embeddings: their mean and standard deviation, and two classifiers.

B: clips, C: copies, N: rows, D: size of the embedding, K: emotions.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch
from torch import nn

from speech_emotion.models.any_voice import AnyVoice, Moments
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.training.augment import AugmentationSettings
from speech_emotion.training.cnn import autocast, target_indices

_FEWEST_STEPS = 20  # of a one-cycle schedule; with ten, OneCycleLR divides by zero


@dataclass(frozen=True)
class HeadSettings:
    """How the linear layer and the perceptron are trained; stored in the checkpoint."""

    copies: int = 8  # augmented copies of each RAVDESS clip
    other_copies: int = 3  # augmented copies of each clip of another corpus
    other_weight: float = 0.3  # weight of another corpus, relative to RAVDESS
    with_nemo: bool = True
    weight_decay: float = 0.1  # L2 penalty on the linear layer for standardised embeddings
    iterations: int = 60  # of L-BFGS
    hidden: int = 512  # units of the perceptron; 0 for no perceptron
    epochs: int = 3  # of the perceptron, over all copies
    batch_size: int = 128
    learning_rate: float = 1e-3
    perceptron_decay: float = 0.05  # of AdamW
    mixup: float = 0.4  # alpha of the Beta distribution of the weights
    label_smoothing: float = 0.1
    temperature_folds: int = 4  # folds by speaker, held out in turn
    temperature_copies: int = 2  # copies of each clip used there, including itself; more change little
    seed: int = 0
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(
            warp_frequency=0.15, warp_time=0.15, shift_s=0.1, equaliser_db=4.0, reverberation_probability=0.25,
            noise_probability=0.4, band_limit_probability=0.15, babble_probability=0.35, gate_probability=0.0,
            mask_bands=0, mask_frames=0,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class TeachingSettings:
    """How a trained classifier is moved towards a few labelled clips; results/EXPERIMENTS.md."""

    penalty: float = 0.2  # L2, on the distance from the trained weights of the linear layer
    perceptron_clips: float = 10.0  # clips per emotion that halve the weight of the perceptron's opinion


@dataclass(frozen=True)
class Corpus:
    """The embedded clips of one corpus."""

    embeddings: torch.Tensor  # (C, B, D) float16; the first copy is the unchanged clips
    emotions: np.ndarray  # (B,)
    clips: np.ndarray  # (B,) names; the windows of one recording share a name
    speakers: np.ndarray | None  # (B,), None if unknown

    def select(self, chosen: np.ndarray) -> "Corpus":
        """The chosen clips, by index or mask."""
        speakers = None if self.speakers is None else self.speakers[chosen]
        embeddings = self.embeddings[:, torch.from_numpy(chosen)]
        return Corpus(embeddings, self.emotions[chosen], self.clips[chosen], speakers)

    @property
    def groups(self) -> np.ndarray:
        """(B,): the groups that are held out together."""
        return self.clips if self.speakers is None or len({*self.speakers}) == 1 else self.speakers

    @property
    def weights(self) -> torch.Tensor:
        """(B,): weights of windows; those of each recording sum to 1."""
        _, of_clip, counts = np.unique(self.clips, return_inverse=True, return_counts=True)
        return torch.from_numpy(1 / counts[of_clip]).float()


@dataclass(frozen=True)
class Rows:
    """The training rows: all copies of all corpora."""

    x: torch.Tensor  # (N, D), standardised
    allowed: torch.Tensor  # (N, K), 1 for each emotion that is correct for a row
    mask: torch.Tensor  # (N, K), a large negative number for emotions that the row's corpus lacks, else 0
    weights: torch.Tensor  # (N,), sum to 1

    def select(self, chosen: torch.Tensor) -> "Rows":
        return Rows(self.x[chosen], self.allowed[chosen], self.mask[chosen], self.weights[chosen])

    def loss(self, logits: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Weighted cross entropy of logits (N, K): (N,); probabilities of several allowed emotions are summed."""
        log_probabilities = (logits + self.mask).log_softmax(dim=1)
        loss = -torch.logsumexp(log_probabilities + self.allowed.log(), dim=1)
        if label_smoothing:
            is_present = self.mask == 0
            uniform = -(log_probabilities * is_present).sum(dim=1) / is_present.sum(dim=1)
            loss = (1 - label_smoothing) * loss + label_smoothing * uniform
        return self.weights * loss


def fit(network: AnyVoice, corpora: list[Corpus], labels: list[str], settings: HeadSettings) -> None:
    """Fit everything but the encoder: the statistics, the linear layer and the perceptron."""
    set_statistics(network, corpora, settings.other_weight)
    rows = rows_of(network, corpora, labels, settings.other_weight)
    nn.init.zeros_(network.linear.weight)
    nn.init.zeros_(network.linear.bias)
    fit_linear(network.linear, rows, settings.weight_decay, ("weight",), settings.iterations)
    if network.perceptron is not None:
        fit_perceptron(network.perceptron, rows, settings)


def taught(start: Checkpoint, corpus: Corpus, labels: list[str], settings: TeachingSettings) -> AnyVoice:
    """A network for `labels` that starts from the classifiers of another, which knows some of them, or none.

    The clips' statistics are shrunk towards those of training. The linear layer is fitted with a Gaussian prior around
    its trained weights, or around zero for a new label. The perceptron is kept; it has no opinion on new labels, and
    the less weight the more clips there are.
    """
    network = deepcopy(start.network, {id(start.network.encoder): start.network.encoder})  # which is frozen, and large
    statistics = start.network.shrunk(Moments.from_embeddings(corpus.embeddings[0], corpus.weights))
    network.mean.copy_(statistics[0])
    network.deviation.copy_(statistics[1])
    network.linear = _for_labels(network.linear, start.labels, labels, opinion_on_new=False)
    if network.perceptron is not None and {*labels} & {*start.labels}:
        last = network.perceptron[-1] = _for_labels(network.perceptron[-1], start.labels, labels, opinion_on_new=True)
        share = settings.perceptron_clips / (settings.perceptron_clips + len({*corpus.clips}) / len(labels))
        last.weight.data *= share
        last.bias.data *= share
    else:
        network.perceptron = None
    hidden = network.settings.hidden if network.perceptron else 0
    network.settings = replace(network.settings, n_classes=len(labels), hidden=hidden)
    fit_linear(network.linear, rows_of(network, [corpus], labels, 1.0), settings.penalty, ("weight", "bias"))
    return network.eval()


def _for_labels(linear: nn.Linear, old_labels: list[str], labels: list[str], opinion_on_new: bool) -> nn.Linear:
    """The layer's rows for `labels`; neutral without calm is the mean of both, a new label zero.

    With `opinion_on_new`, a new label is the mean of all others: neither more nor less likely than they are.
    """
    sources = [[label] if label in old_labels else [] for label in labels]
    if "neutral" in labels and "calm" not in labels:
        sources[labels.index("neutral")] = [label for label in ("neutral", "calm") if label in old_labels]
    if opinion_on_new:
        everything = [label for source in sources for label in source]
        sources = [source or everything for source in sources]
    average = torch.tensor([[source.count(label) / max(1, len(source)) for label in old_labels] for source in sources])
    average = average.reshape(len(labels), len(old_labels))
    layer = nn.Linear(linear.in_features, len(labels))
    layer.weight.data = average @ linear.weight.data[: len(old_labels)]
    layer.bias.data = average @ linear.bias.data[: len(old_labels)]
    return layer


def set_statistics(network: AnyVoice, corpora: list[Corpus], other_weight: float) -> None:
    """Mean and deviation of the unchanged clips; the first corpus has weight 1, the others `other_weight`."""
    shares = torch.tensor([1.0, *[other_weight] * (len(corpora) - 1)])
    shares /= shares.sum()
    clean = [corpus.embeddings[0].float() for corpus in corpora]
    weights = [share * corpus.weights / corpus.weights.sum() for share, corpus in zip(shares, corpora, strict=True)]
    mean = sum(weight @ x for weight, x in zip(weights, clean, strict=True))
    square = sum(weight @ x.square() for weight, x in zip(weights, clean, strict=True))
    network.mean.copy_(mean)
    network.deviation.copy_((square - mean.square()).clamp(min=0).sqrt() + 1e-3)


def rows_of(network: AnyVoice, corpora: list[Corpus], labels: list[str], other_weight: float) -> Rows:
    """All copies of all clips, standardised by the network's statistics, and again by their speaker's, if known.

    The second is what --adapt does.
    """
    rows = []
    for number, corpus in enumerate(corpora):
        views = [None]
        if corpus.speakers is not None:
            x = corpus.embeddings[0].float()
            by_speaker = torch.empty(len(x), 2, x.shape[1])
            for speaker in np.unique(corpus.speakers):
                spoken = torch.from_numpy(corpus.speakers == speaker)
                by_speaker[spoken] = network.statistics(x[spoken])
            views.append(by_speaker)
        target, mask = soft_targets(corpus.emotions, labels)
        shares = target * corpus.weights[:, None]
        # Equal weight for all emotions of a corpus.
        weight = (shares / shares.sum(dim=0).clamp(min=1)).amax(dim=1)
        weight *= (other_weight if number else 1.0) / weight.sum() / len(corpus.embeddings)
        for copy, statistics in product(corpus.embeddings, views):
            rows.append((network.standardise(copy.float(), statistics), target, mask.expand_as(target), weight))
    x, allowed, masks, weights = map(torch.cat, zip(*rows, strict=True))
    return Rows(x, allowed, masks, weights / weights.sum())


def fit_linear(
    linear: nn.Linear, rows: Rows, penalty: float, penalised: tuple[str, ...], iterations: int = HeadSettings.iterations
) -> None:
    """Multinomial logistic regression with a Gaussian prior: the penalty is on the distance from the given weights."""
    before = {name: getattr(linear, name).detach().clone() for name in penalised}
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        distance = sum((getattr(linear, name) - weights).square().sum() for name, weights in before.items())
        loss = rows.loss(linear(rows.x)).sum() + 0.5 * penalty * distance
        loss.backward()
        return loss

    optimizer.step(closure)


def fit_perceptron(perceptron: nn.Sequential, rows: Rows, settings: HeadSettings) -> None:
    """AdamW with a one-cycle learning rate, mixup (Zhang et al., 2018) and label smoothing."""
    torch.manual_seed(settings.seed)
    perceptron.train()
    for layer in perceptron:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.AdamW(
        perceptron.parameters(), lr=settings.learning_rate, weight_decay=settings.perceptron_decay
    )
    n_batches = max(1, len(rows.x) // settings.batch_size)
    steps = max(settings.epochs * n_batches + 1, _FEWEST_STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)
    beta = torch.distributions.Beta(settings.mixup, settings.mixup)
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(rows.x)).tensor_split(n_batches):
            one, other = rows.select(batch), rows.select(batch[torch.randperm(len(batch))])
            loss = mixup_loss(perceptron, one, other, float(beta.sample()), settings.label_smoothing)
            loss *= n_batches  # because the weights of all batches sum to 1
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    perceptron.eval()


def mixup_loss(perceptron: nn.Module, one: Rows, other: Rows, share: float, label_smoothing: float) -> torch.Tensor:
    """The mixup loss of pairs of rows: inputs and losses are mixed, `share` of one and the rest of the other."""
    with autocast(one.x.device):
        logits = perceptron(share * one.x + (1 - share) * other.x).float()
    losses = [part.loss(logits, label_smoothing).sum() for part in (one, other)]
    return share * losses[0] + (1 - share) * losses[1]


def soft_targets(emotions: np.ndarray, labels: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The correct emotions of each clip, (B, K) of 0 and 1, and a mask of emotions that the corpus lacks, (K,).

    A corpus without calm labels it as neutral, so its neutral clips may be either.
    """
    allowed = nn.functional.one_hot(target_indices(emotions, labels), len(labels)).float()
    present = allowed.any(dim=0)
    if {"calm", "neutral"} <= set(labels) and not present[labels.index("calm")]:
        allowed[:, labels.index("calm")] = allowed[:, labels.index("neutral")]
    return allowed, torch.where(allowed.any(dim=0), 0.0, -1e4)
