"""Training of AnyVoice: embeddings of the clips and of augmented copies, computed once, and a linear layer on top.

B: clips, C: copies, N: rows, D: size of the embedding, K: emotions.
"""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupKFold
from torch import nn
from tqdm import tqdm

from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models import any_voice, log_mel, whisper
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings
from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.whisper import WhisperEncoder, WhisperFeatures
from speech_emotion.training import augment
from speech_emotion.training.augment import AugmentationSettings, augmentation
from speech_emotion.training.cache import code_of, kept, log_mels
from speech_emotion.training.loop import MARGIN_S, autocast, target_indices

_BATCH = 16


@dataclass(frozen=True)
class HeadSettings:
    """How the linear layer is trained, whatever the clips; stored in the checkpoint."""

    copies: int = 8  # augmented ones of each RAVDESS clip
    other_copies: int = 3  # of each clip of another corpus
    other_weight: float = 0.3  # of an emotion in another corpus, against one in RAVDESS
    with_nemo: bool = True
    weight_decay: float = 0.4  # L2 penalty on the weights for standardised embeddings
    iterations: int = 60  # of L-BFGS
    temperature_folds: int = 4  # of speakers, who are left out in turn
    temperature_copies: int = 2  # that these see of each clip, itself included; more change it little
    seed: int = 0
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(
            warp_frequency=0.15, warp_time=0.15, shift_s=0.1, equaliser_db=4.0, reverberation_probability=0.25,
            noise_probability=0.4, band_limit_probability=0.15, gate_probability=0.0, mask_bands=0, mask_frames=0,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class _Corpus:
    """Clips as the linear layer sees them."""

    embeddings: torch.Tensor  # (C, B, D) float16; the first copy is the clips as they are
    emotions: np.ndarray  # (B,)
    clips: np.ndarray  # (B,), a name that is there several times is that of a recording of several windows
    speakers: np.ndarray | None  # (B,), None where they are not known

    def of(self, chosen: np.ndarray) -> "_Corpus":
        speakers = None if self.speakers is None else self.speakers[chosen]
        embeddings = self.embeddings[:, torch.from_numpy(chosen)]
        return _Corpus(embeddings, self.emotions[chosen], self.clips[chosen], speakers)

    def first(self, copies: int) -> "_Corpus":
        return replace(self, embeddings=self.embeddings[:copies])

    @property
    def groups(self) -> np.ndarray:
        """(B,): what goes together where some are left out."""
        return self.clips if self.speakers is None else self.speakers

    @property
    def weights(self) -> torch.Tensor:
        """(B,): a recording counts once, however many windows it has."""
        _, of_clip, counts = np.unique(self.clips, return_inverse=True, return_counts=True)
        return torch.from_numpy(1 / counts[of_clip]).float()


def train_head(
    training: pd.DataFrame,
    corpora: list[pd.DataFrame],
    labels: list[str],
    settings: HeadSettings,
    encoder: WhisperEncoder,
    device: torch.device,
    cache_dir: str | Path,
) -> Checkpoint:
    """Train on the clips of `training`, which are among those of `corpora[0]`, and on all of the other corpora.

    The tables have the columns clip, path, emotion, and speaker where that is known; a row for each window, if there is
    a column start (see log_mels). Embeddings are cached for whole corpora, so that every split of one uses the same.
    The temperature is fitted on speakers of `training`, else on clips, that were left out in turn.
    """
    features = WhisperFeatures()
    shape = AnyVoiceSettings(len(labels), n_blocks=len(encoder.blocks), width=encoder.conv1.out_channels)
    network = AnyVoice(shape, features)
    network.encoder.load_state_dict(encoder.state_dict())
    tables = [table[table["emotion"].isin(labels)] for table in corpora]
    together = []
    for number, table in enumerate(tables):
        copies = settings.other_copies if number else settings.copies
        computed = embeddings(table, network, copies, settings, device, cache_dir)
        speakers = table["speaker"].to_numpy(str) if "speaker" in table else None
        together.append(_Corpus(computed, table["emotion"].to_numpy(), table["clip"].to_numpy(str), speakers))
    emotion_of = dict(training[["clip", "emotion"]].to_numpy())  # the control's are not those of the table
    chosen = tables[0]["clip"].isin(emotion_of).to_numpy()
    own = together[0].of(chosen)
    own = replace(own, emotions=tables[0]["clip"][chosen].map(emotion_of).to_numpy())

    logits, targets = [], []
    few = [corpus.first(settings.temperature_copies) for corpus in (own, *together[1:])]
    n_folds = min(settings.temperature_folds, len({*own.groups}))
    folds = GroupKFold(n_folds).split(own.emotions, groups=own.groups)
    for rest, left_out in tqdm(list(folds), desc="temperature"):
        _fit(network, [few[0].of(rest), *few[1:]], labels, settings)
        with torch.inference_mode():
            logits.append(network.classify(own.embeddings[0, left_out].float()))
        targets.append(target_indices(own.emotions[left_out], labels))
    temperature = fit_temperature(torch.cat(logits), torch.cat(targets))
    _fit(network, [own, *together[1:]], labels, settings)
    return Checkpoint(network.eval(), labels, temperature, training=asdict(settings))


def embeddings(
    clips: pd.DataFrame,
    network: AnyVoice,
    copies: int,
    settings: HeadSettings,
    device: torch.device,
    folder: str | Path,
) -> torch.Tensor:
    """(1 + copies, B, D) float16: the clips as they are, then as the augmentation changes them; kept in `folder`."""
    spectrograms = log_mels(clips, network.front_end, MARGIN_S, folder).contiguous()
    digest = hashlib.sha256(spectrograms.numpy())
    for tensor in network.encoder.state_dict().values():
        digest.update(tensor.numpy())
    code = code_of(augment, log_mel, any_voice, whisper)
    digest.update(json.dumps([copies, asdict(settings.augmentation), settings.seed, code]).encode())
    name = f"embeddings-{digest.hexdigest()[:16]}"
    return kept(folder, name, lambda: _embed(spectrograms, network, copies, settings, device))


@torch.inference_mode()
def _embed(
    spectrograms: torch.Tensor, network: AnyVoice, copies: int, settings: HeadSettings, device: torch.device
) -> np.ndarray:
    fast = network.for_inference().to(device)
    margin = (spectrograms.shape[2] - network.features.n_frames) // 2
    generator = torch.Generator().manual_seed(settings.seed)
    change = augmentation(settings.augmentation, network.features, generator).to(device)
    computed = []
    with tqdm(total=(1 + copies) * len(spectrograms), desc="embedding clips", unit="clip") as progress:
        for copy in range(1 + copies):
            for batch in spectrograms.split(_BATCH):
                batch = batch.float().to(device)
                decibels = change(batch) if copy else batch[:, :, margin : margin + network.features.n_frames]
                inputs = network.front_end.from_log_mel(decibels.clamp(min=-100))
                # What is augmented need not be exact, and takes half the time.
                with autocast(device) if copy else nullcontext():
                    computed.append(fast.embed(inputs).half().cpu())
                progress.update(len(batch))
    return torch.cat(computed).unflatten(0, (1 + copies, len(spectrograms))).numpy()


def _fit(network: AnyVoice, corpora: list[_Corpus], labels: list[str], settings: HeadSettings) -> None:
    """Set the statistics and the linear layer of the network.

    Every copy of a clip is seen twice: by the statistics of all, and by those of a known speaker, as under --adapt.
    """
    shares = torch.tensor([1.0, *[settings.other_weight] * (len(corpora) - 1)])
    shares /= shares.sum()
    clean = [corpus.embeddings[0].float() for corpus in corpora]
    each = [share * corpus.weights / corpus.weights.sum() for share, corpus in zip(shares, corpora, strict=True)]
    mean = sum(weight @ x for weight, x in zip(each, clean, strict=True))
    square = sum(weight @ x.square() for weight, x in zip(each, clean, strict=True))
    network.mean.copy_(mean)
    network.deviation.copy_((square - mean.square()).clamp(min=0).sqrt() + 1e-3)

    rows, allowed, weights, masks = [], [], [], []
    for number, (corpus, x) in enumerate(zip(corpora, clean, strict=True)):
        views = [None]
        if corpus.speakers is not None:
            views.append(torch.empty(len(x), 2, x.shape[1]))
            for speaker in np.unique(corpus.speakers):
                own = torch.from_numpy(corpus.speakers == speaker)
                views[1][own] = network.statistics(x[own])
        target, mask = _soft_targets(corpus.emotions, labels)
        shares_of = target * corpus.weights[:, None]
        weight = (shares_of / shares_of.sum(dim=0).clamp(min=1)).amax(dim=1)  # every emotion of a corpus counts alike
        weight *= (settings.other_weight if number else 1.0) / weight.sum() / len(corpus.embeddings)
        for copy in corpus.embeddings:
            for statistics in views:
                rows.append(network.standardise(copy.float(), statistics))
                allowed.append(target), masks.append(mask.expand_as(target)), weights.append(weight)
    _logistic_regression(network.linear, *map(torch.cat, (rows, allowed, masks, weights)), settings)


def _logistic_regression(linear: nn.Linear, x, allowed, mask, weights, settings: HeadSettings) -> None:
    """Multinomial, where a row (N, D) may be any of its `allowed` emotions (N, K) and none of the masked ones."""
    weights = weights / weights.sum()
    nn.init.zeros_(linear.weight), nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=settings.iterations, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        log_probabilities = (linear(x) + mask).log_softmax(dim=1)
        loss = -(torch.logsumexp(log_probabilities + allowed.log(), dim=1) * weights).sum()
        loss = loss + 0.5 * settings.weight_decay * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def _soft_targets(emotions: np.ndarray, labels: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which emotions each clip may have, (B, K) of 0 and 1, and -inf or so for those that its corpus lacks, (K,).

    A corpus without calm calls it neutral: its neutral clips may be either.
    """
    allowed = nn.functional.one_hot(target_indices(emotions, labels), len(labels)).float()
    present = allowed.any(dim=0)
    if {"calm", "neutral"} <= set(labels) and not present[labels.index("calm")]:
        allowed[:, labels.index("calm")] = allowed[:, labels.index("neutral")]
    return allowed, torch.where(allowed.any(dim=0), 0.0, -1e4)
