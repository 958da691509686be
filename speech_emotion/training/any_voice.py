"""Training of AnyVoice: the recipe, the embeddings of clips and augmented copies, and the fit of the head.

B: clips, C: copies, D: size of the embedding.
"""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from speech_emotion.corpora.foreign import NEMO
from speech_emotion.evaluation.metrics import fit_temperature
from speech_emotion.models.any_voice import AnyVoice, AnyVoiceSettings, WhisperEncoder, load_encoder
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.features import WhisperFeatures
from speech_emotion.training.any_voice_head import Corpus, HeadSettings, fit
from speech_emotion.training.augment import augmentation
from speech_emotion.training.cache import VERSION, cached, log_mels
from speech_emotion.training.cnn import MARGIN_S, autocast, target_indices
from speech_emotion.training.runs import Parts

_BATCH = 16
_VOICES = 600  # clips of another corpus used as background voices, at most


@dataclass(frozen=True)
class AnyVoiceRecipe:
    """Training of a small head on the frozen `encoder`; see speech_emotion.training.runs.Recipe.

    It needs no validation part: the temperature is fitted on training speakers held out in turn, and nothing else is
    chosen by validation.
    """

    network: ClassVar = AnyVoice
    split_prefix: ClassVar = "any"
    fold_prefix: ClassVar = "any"
    has_validation: ClassVar = False

    encoder: WhisperEncoder = field(repr=False, compare=False)
    settings: HeadSettings = field(default_factory=HeadSettings)
    other_corpora: tuple[pd.DataFrame, ...] = field(default=(), repr=False, compare=False)

    @staticmethod
    def published_settings(shuffle_labels: bool, spoken: bool) -> HeadSettings:
        """Without nEMO for runs on speech only, and for the control, as nEMO's labels would not be shuffled."""
        return HeadSettings(with_nemo=not (shuffle_labels or spoken))

    @classmethod
    def from_options(
        cls, data, shuffle_labels: bool, spoken: bool, encoder=None, without_nemo=False, **options
    ) -> "AnyVoiceRecipe":
        settings = replace(cls.published_settings(shuffle_labels, spoken), **options)
        if without_nemo:
            settings = replace(settings, with_nemo=False)
        return cls(encoder_of(encoder), settings, (NEMO.clip_table(data),) if settings.with_nemo else ())

    def fit(
        self, parts: Parts, clips: pd.DataFrame, labels: list[str], device: torch.device, cache_dir: str | Path
    ) -> tuple[Checkpoint, None]:
        corpora = [clips, *self.other_corpora]
        return train_head(parts["training"], corpora, labels, self.settings, self.encoder, device, cache_dir), None


def encoder_of(file: str | None = None) -> WhisperEncoder:
    """The blocks of Whisper's encoder from OpenAI's `file`, by default from the committed model_any_voice.pt.

    Raises ValueError, CheckpointError or OSError if the file is not such a model.
    """
    if file:
        return load_encoder(file, AnyVoiceSettings.n_blocks, WhisperFeatures().n_frames // 2)
    return load_checkpoint("model_any_voice.pt").network.encoder.float()


def train_head(
    training: pd.DataFrame,
    corpora: list[pd.DataFrame],
    labels: list[str],
    settings: HeadSettings,
    encoder: WhisperEncoder,
    device: torch.device,
    cache_dir: str | Path,
) -> Checkpoint:
    """Train on `training`, a subset of the clips of `corpora[0]`, and on all clips of the other corpora.

    The tables have the columns clip, path, emotion and, if known, speaker. Embeddings are cached for whole corpora, so
    that all splits share them. The temperature is fitted on speakers of `training` held out in turn, or on clips if
    the speakers are unknown.
    """
    n_blocks, width = len(encoder.blocks), encoder.conv1.out_channels
    network = AnyVoice(AnyVoiceSettings(len(labels), n_blocks, width, settings.hidden), WhisperFeatures())
    network.encoder.load_state_dict(encoder.state_dict())
    tables = [table[table["emotion"].isin(labels)] for table in corpora]
    voices = None
    if len(tables) > 1:  # randomly chosen clips of another corpus, (N, M, T)
        voices = log_mels(tables[1], network.front_end, MARGIN_S, cache_dir)
        generator = torch.Generator().manual_seed(settings.seed)
        voices = voices[torch.randperm(len(voices), generator=generator)[:_VOICES]].contiguous()
    embedded = []
    for number, table in enumerate(tables):
        copies = settings.other_copies if number else settings.copies
        computed = embeddings(table, network, copies, settings, device, cache_dir, voices)
        speakers = table["speaker"].to_numpy(str) if "speaker" in table else None
        embedded.append(Corpus(computed, table["emotion"].to_numpy(), table["clip"].to_numpy(str), speakers))
    emotion_of = dict(training[["clip", "emotion"]].to_numpy())  # in the control, the labels in `training` are shuffled
    is_chosen = tables[0]["clip"].isin(emotion_of).to_numpy()
    chosen, *others = embedded
    chosen = replace(chosen.select(is_chosen), emotions=tables[0]["clip"][is_chosen].map(emotion_of).to_numpy())

    logits, targets = [], []
    few, *few_others = [
        replace(corpus, embeddings=corpus.embeddings[: settings.temperature_copies]) for corpus in (chosen, *others)
    ]
    n_folds = min(settings.temperature_folds, len({*chosen.groups}))
    folds = GroupKFold(n_folds).split(chosen.emotions, groups=chosen.groups)
    for rest, held_out in tqdm(list(folds), desc="temperature"):
        fit(network, [few.select(rest), *few_others], labels, settings)
        with torch.inference_mode():
            logits.append(network.classify(chosen.embeddings[0, held_out].float()))
        targets.append(target_indices(chosen.emotions[held_out], labels))
    temperature = fit_temperature(torch.cat(logits), torch.cat(targets))
    fit(network, [chosen, *others], labels, settings)
    return Checkpoint(network.eval(), labels, temperature, training=asdict(settings))


def embeddings(
    clips: pd.DataFrame,
    network: AnyVoice,
    copies: int,
    settings: HeadSettings,
    device: torch.device,
    folder: str | Path,
    voices: torch.Tensor | None = None,
) -> torch.Tensor:
    """(1 + copies, B, D) float16: the unchanged clips, then augmented copies; cached in `folder`.

    `voices` are background voices, as for `augmentation`.
    """
    spectrograms = log_mels(clips, network.front_end, MARGIN_S, folder).contiguous()
    digest = hashlib.sha256(spectrograms.numpy())
    for tensor in (*network.encoder.state_dict().values(), *([] if voices is None else [voices])):
        digest.update(tensor.numpy())
    digest.update(json.dumps([VERSION, copies, asdict(settings.augmentation), settings.seed]).encode())
    name = f"embeddings-{digest.hexdigest()[:16]}"
    return cached(folder, name, lambda: _embed(spectrograms, network, copies, settings, device, voices))


@torch.inference_mode()
def _embed(
    spectrograms: torch.Tensor,
    network: AnyVoice,
    copies: int,
    settings: HeadSettings,
    device: torch.device,
    voices: torch.Tensor | None,
) -> np.ndarray:
    fast = network.for_inference().to(device)
    margin = (spectrograms.shape[2] - network.features.n_frames) // 2
    generator = torch.Generator().manual_seed(settings.seed)
    augment = augmentation(settings.augmentation, network.features, generator, voices).to(device)
    computed = []
    with tqdm(total=(1 + copies) * len(spectrograms), desc="embedding clips", unit="clip") as progress:
        for copy in range(1 + copies):
            for batch in spectrograms.split(_BATCH):
                batch = batch.float().to(device)
                decibels = augment(batch) if copy else batch[:, :, margin : margin + network.features.n_frames]
                inputs = network.front_end.from_log_mel(decibels.clamp(min=-100))
                # Augmented copies need not be exact; this halves the time.
                with autocast(device) if copy else nullcontext():
                    computed.append(fast.embed(inputs).half().cpu())
                progress.update(len(batch))
    return torch.cat(computed).unflatten(0, (1 + copies, len(spectrograms))).numpy()
