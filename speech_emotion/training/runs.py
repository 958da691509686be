"""A run, from the clips to a checkpoint and its evidence: train.py and the notebook both carry it out."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import stream_audio
from speech_emotion.audio.windows import RecordingWindows
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.corpora.splits import ACTOR_FOLDS, actor_split, hold_out_validation, stratified_split
from speech_emotion.evaluation.metrics import accuracy, prediction_table, uar
from speech_emotion.evaluation.results import PUBLISHED, write_results
from speech_emotion.inference.adaptation import Adaptation
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
from speech_emotion.models.devices import choose_device
from speech_emotion.models.mfcc import FeatureSettings
from speech_emotion.models.whisper import WhisperEncoder
from speech_emotion.training.any_voice import HeadSettings, train_head
from speech_emotion.training.cnn import TrainingSettings, train

Parts = dict[str, pd.DataFrame]  # the clips that are training, validation if it has a use, test

NETWORKS = {"cnn": ("random", "speaker"), "any-voice": ("any", "any")}  # of a split and of a fold, by network


@dataclass(frozen=True)
class Run:
    """What is trained on, what is held out, and how; its name tells all that is not as published."""

    network: str = "cnn"  # one of NETWORKS
    drop: tuple[str, ...] = ()  # emotions left out
    split: int = 0  # random state of the 80/20 split
    fold: int | None = None  # of ACTOR_FOLDS, held out instead
    shuffle_labels: bool = False  # the control: train on permuted labels, reach chance
    partial: bool = False  # some clips of RAVDESS are not there, so the splits are not the published ones
    settings: TrainingSettings | HeadSettings = field(default_factory=TrainingSettings)

    def __post_init__(self):
        if self.network not in NETWORKS:
            raise ValueError(f"there is no network {self.network!r}, only {', '.join(NETWORKS)}")
        if not 0 <= self.split < 2**32:
            raise ValueError(f"a split is a number from 0 to {2**32 - 1}, not {self.split}")
        if self.fold is not None and not 0 <= self.fold < len(ACTOR_FOLDS):
            raise ValueError(f"a fold is a number from 0 to {len(ACTOR_FOLDS) - 1}, not {self.fold}")
        if len(self.labels) < 2:
            raise ValueError("a model needs two emotions or more")

    @property
    def labels(self) -> list[str]:
        return [emotion for emotion in EMOTIONS if emotion not in self.drop]

    @property
    def name(self) -> str:
        """Of its files under results/: that of a published run only if all is as published."""
        of_split, of_fold = NETWORKS[self.network]
        parts = [f"{of_split}{len(self.labels)}-split{self.split}"]
        if self.fold is not None:
            parts = [f"{of_fold}{len(self.labels)}-fold{self.fold}"]
        if self.drop and self.drop != ("sad",):
            parts += ["without", *(emotion for emotion in EMOTIONS if emotion in self.drop)]
        if self.shuffle_labels:
            parts.append("shuffled")
        if self.partial:
            parts.append("partial")
        published = published_settings(self.network, self.shuffle_labels)
        for setting in asdict(published):
            value = getattr(self.settings, setting)
            if value != getattr(published, setting):
                parts.append({"schedule": value, "augmentation": "augmented"}.get(setting, f"{setting}{value}"))
        return "-".join(parts)

    @property
    def file(self) -> str | None:
        """The checkpoint in the repository that it makes, if any."""
        return next((model.file for model in PUBLISHED if model.run == self.name), None)

    def parts(self, clips: pd.DataFrame) -> Parts:
        """The any-voice head trains on what validates the CNN: its temperature comes from speakers left out in turn.

        In its control these clips are left alone, as their labels are not shuffled. Raises ValueError when a part
        would be empty, or an emotion has too few clips to be split.
        """
        clips = clips[clips["emotion"].isin(self.labels)]
        if self.fold is None:
            rest, test = stratified_split(clips, self.split)
        else:
            rest, test = actor_split(clips, ACTOR_FOLDS[self.fold])
        if rest.empty or test.empty:
            raise ValueError(f"{self.name} has {len(rest)} clips to train on and {len(test)} to test")
        training, validation = hold_out_validation(rest, seed=0)
        if self.shuffle_labels:
            shuffled = training["emotion"].sample(frac=1, random_state=self.settings.seed).to_numpy()
            training = training.assign(emotion=shuffled)
        elif self.network == "any-voice":
            return {"training": pd.concat([training, validation]), "test": test}
        return {"training": training, "validation": validation, "test": test}

    def listed(self, parts: Parts, others: Iterable[pd.DataFrame]) -> Parts:
        """What results/splits has: the parts, with the clips of `others`, where they have the labels, in training."""
        others = [clips[clips["emotion"].isin(self.labels)] for clips in others]
        return parts | {"training": pd.concat([parts["training"], *others])}


def published_settings(network: str = "cnn", shuffle_labels: bool = False) -> TrainingSettings | HeadSettings:
    """The settings of the published runs; in the controls there must be nothing to learn, and less time is enough."""
    if network == "any-voice":
        return HeadSettings(with_nemo=not shuffle_labels)  # the labels of nEMO are not shuffled
    return replace(TrainingSettings(), epochs=30) if shuffle_labels else TrainingSettings()


@dataclass(frozen=True)
class Outcome:
    """What came out of a run."""

    run: Run
    parts: Parts
    checkpoint: Checkpoint  # with its split and its metrics
    history: pd.DataFrame | None  # None for a network that is trained without epochs
    predictions: pd.DataFrame  # of the test clips
    others: tuple[pd.DataFrame, ...] = ()  # clips of other corpora that were trained on too
    adapted: pd.DataFrame | None = None  # the same by the statistics of each test speaker, where a fold was held out

    def write(self, results: str | Path, out: str | Path | None) -> None:
        """Its tables and picture under `results`, then its checkpoint; each file is there whole, or as it was."""
        parts = self.run.listed(self.parts, self.others)
        write_results(results, self.run.name, parts, self.history, self.predictions, self.adapted)
        if out:
            save_checkpoint(out, self.checkpoint)


def carry_out(
    run: Run,
    clips: pd.DataFrame,
    device: str = "auto",
    cache_dir: str | Path = ".cache",
    encoder: WhisperEncoder | None = None,
    others: tuple[pd.DataFrame, ...] = (),
) -> Outcome:
    """Train, and classify the held-out clips as eval.py would.

    The any-voice network needs its `encoder`, and learns from the clips of `others` too.

    Raises ValueError, before the first epoch, for a clip that cannot be read and for clips that cannot be split.
    """
    parts = run.parts(clips)
    _check_readable(parts["test"])
    checkpoint, history = _train(run, clips, parts, choose_device(device), cache_dir, encoder, others)
    test = parts["test"]
    checkpoint.split = {"name": run.name, "test": sorted(test["clip"])}
    predictor = Predictor(checkpoint, device)
    predictions = prediction_table(test, predictor.predict(test["path"]))
    adapted = None
    if run.fold is not None and predictor.network.takes_statistics:
        adapted = adapted_predictions(predictor, test)
    checkpoint.metrics = {"accuracy": accuracy(predictions), "uar": uar(predictions)}
    return Outcome(run, parts, checkpoint, history, predictions, others, adapted)


def _check_readable(clips: pd.DataFrame) -> None:
    features = FeatureSettings()

    def read(path: str) -> None:
        try:
            RecordingWindows(partial(stream_audio, path, features.sample_rate), features).find()
        except AudioError as error:
            raise ValueError(f"{path}: {error}") from error

    with ThreadPoolExecutor() as readers:
        list(readers.map(read, clips["path"]))


def adapted_predictions(predictor: Predictor, clips: pd.DataFrame) -> pd.DataFrame:
    """The prediction table when each speaker's clips are judged by their own statistics, as by eval.py --adapt."""
    speaker_of = dict(zip(clips["path"], clips["speaker"], strict=True))
    adaptation = Adaptation(predictor, clips["path"], speaker_of.get)
    answers = predictor.answers(clips["path"], statistics=adaptation)
    return prediction_table(clips, (answer.rows[0] for answer in answers))


def _train(run: Run, clips, parts: Parts, device, cache_dir, encoder, others) -> tuple[Checkpoint, pd.DataFrame | None]:
    if run.network == "cnn":
        features = FeatureSettings()
        return train(parts["training"], parts["validation"], run.labels, run.settings, features, device, cache_dir)
    return train_head(parts["training"], [clips, *others], run.labels, run.settings, encoder, device, cache_dir), None
