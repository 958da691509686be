"""A run: clips → a checkpoint and its held-out predictions, for train.py and the notebooks."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import stream_audio
from speech_emotion.audio.windows import RecordingWindows
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.corpora.splits import FOLDS, fold_split, stratified_split
from speech_emotion.evaluation.metrics import accuracy, prediction_table, uar
from speech_emotion.evaluation.plots import plot_run, save_picture, use_style
from speech_emotion.inference.adaptation import Adaptation
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import Checkpoint, save_checkpoint
from speech_emotion.models.features import FeatureSettings
from speech_emotion.models.network import NETWORKS, Network, choose_device
from speech_emotion.models.published import PUBLISHED
from speech_emotion.outputs import replaced

Parts = dict[str, pd.DataFrame]  # training, validation (if the recipe uses it) and test clips


class Recipe(Protocol):
    """A frozen dataclass with the settings and other inputs of a network's training."""

    network: ClassVar[type[Network]]
    split_prefix: ClassVar[str]  # prefix of the names of runs on random splits
    fold_prefix: ClassVar[str]  # prefix of the names of runs on folds by actor
    has_validation: ClassVar[bool]  # whether a tenth of the training clips is held out for validation
    settings: Any  # a dataclass with `seed`; the checkpoint stores it
    other_corpora: tuple[pd.DataFrame, ...]  # clips of other corpora, also used for training

    @staticmethod
    def published_settings(shuffle_labels: bool, spoken: bool) -> Any:
        """The settings of the published runs, of the control with shuffled labels, or of runs on speech only."""

    @classmethod
    def from_options(cls, data: str | Path, shuffle_labels: bool, spoken: bool, **options) -> "Recipe":
        """The recipe for options of train.py; other corpora are below the folder `data`.

        `options` are the network's own, as in commands/train.py, and settings that differ from the published ones.
        Raises ValueError, NoDataError, CheckpointError.
        """

    def fit(
        self, parts: Parts, clips: pd.DataFrame, labels: list[str], device: torch.device, cache_dir: str | Path
    ) -> tuple[Checkpoint, pd.DataFrame | None]:
        """Train on `parts` of `clips`: returns the checkpoint, and loss and accuracy by epoch if there are epochs.

        Raises ValueError for a clip that cannot be read.
        """


def recipe_of(network: str) -> type[Recipe]:
    """The recipe for one of NETWORKS. Raises ValueError for another name."""
    if network not in NETWORKS:
        raise ValueError(f"there is no network {network!r}, only {', '.join(NETWORKS)}")
    module = import_module(f"{__package__}.{network.replace('-', '_')}")
    return getattr(module, f"{NETWORKS[network].__name__}Recipe")


@dataclass(frozen=True)
class Run:
    """A recipe and the clips that are held out; the name shows every deviation from the published runs."""

    recipe: Recipe
    drop: tuple[str, ...] = ()  # emotions left out
    split: int = 0  # random state of the 80/20 split
    fold: int | None = None  # fold of actors that is held out instead of a random split
    folds: str = "fold"  # a name in FOLDS
    spoken: bool = False  # without sung clips
    shuffle_labels: bool = False  # control experiment: train on shuffled labels
    partial: bool = False  # some clips of RAVDESS are missing, so the splits are not the published ones

    def __post_init__(self):
        if not 0 <= self.split < 2**32:
            raise ValueError(f"a split is a number from 0 to {2**32 - 1}, not {self.split}")
        if self.folds not in FOLDS:
            raise ValueError(f"there are no folds {self.folds!r}, only {', '.join(FOLDS)}")
        if self.fold is not None and not 0 <= self.fold < (n_folds := len(FOLDS[self.folds][0])):
            raise ValueError(f"a fold is a number from 0 to {n_folds - 1}, not {self.fold}")
        if len(self.labels) < 2:
            raise ValueError("a model needs at least two emotions")

    @property
    def labels(self) -> list[str]:
        return [emotion for emotion in EMOTIONS if emotion not in self.drop]

    @property
    def name(self) -> str:
        """The name of its files under results/; the name of a published run only if all settings are published ones."""
        recipe, settings = self.recipe, self.recipe.settings
        parts = [f"{recipe.split_prefix}{len(self.labels)}-split{self.split}"]
        if self.fold is not None:
            parts = [f"{recipe.fold_prefix}{len(self.labels)}-{self.folds}{self.fold}"]
        if self.drop and self.drop != ("sad",):
            parts += ["without", *(emotion for emotion in EMOTIONS if emotion in self.drop)]
        names = ("spoken", "shuffle_labels", "partial")
        parts += [{"shuffle_labels": "shuffled"}.get(name, name) for name in names if getattr(self, name)]
        published = recipe.published_settings(self.shuffle_labels, self.spoken)
        for setting in asdict(published):
            value = getattr(settings, setting)
            if value != getattr(published, setting):
                parts.append({"schedule": value, "augmentation": "augmented"}.get(setting, f"{setting}{value}"))
        return "-".join(parts)

    @property
    def file(self) -> str | None:
        """The committed checkpoint that this run produces, if any."""
        return next((model.file for model in PUBLISHED if model.run == self.name), None)

    def files(self, results: str | Path) -> dict[str, Path]:
        """Its tables, each KIND/NAME.csv under `results`, and its picture."""
        tables = {kind: Path(results, kind, f"{self.name}.csv") for kind in ("splits", "histories", "predictions")}
        adapted = {"adapted": Path(results, "predictions", f"{self.name}-adapted.csv")}
        return tables | adapted | {"picture": Path(results, "figures", "runs", f"{self.name}.png")}

    def chosen(self, clips: pd.DataFrame) -> pd.DataFrame:
        """The clips that the run uses."""
        clips = clips[clips["emotion"].isin(self.labels)]
        return clips[clips["channel"] == "speech"] if self.spoken else clips

    def parts(self, clips: pd.DataFrame) -> Parts:
        """The clips for training, validation and test.

        A recipe without validation also trains on the validation clips, except in the control, where their labels are
        not shuffled. Raises ValueError if a part is empty, or an emotion has too few clips to be split.
        """
        clips = self.chosen(clips)
        if self.fold is None:
            rest, test = stratified_split(clips, self.split)
        else:
            rest, test = fold_split(clips, self.folds, self.fold)
        if rest.empty or test.empty:
            raise ValueError(f"{self.name} has {len(rest)} clips to train on and {len(test)} to test")
        training, validation = stratified_split(rest, seed=0, test_size=0.1)
        if self.shuffle_labels:
            shuffled = training["emotion"].sample(frac=1, random_state=self.recipe.settings.seed).to_numpy()
            training = training.assign(emotion=shuffled)
        elif not self.recipe.has_validation:
            return {"training": pd.concat([training, validation]), "test": test}
        return {"training": training, "validation": validation, "test": test}


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    run: Run
    parts: Parts
    checkpoint: Checkpoint  # with its split and its metrics
    history: pd.DataFrame | None  # None if there are no epochs
    predictions: pd.DataFrame  # for the test clips
    adapted: pd.DataFrame | None = None  # the same, with each test speaker's own statistics; only for folds

    def write(self, results: str | Path, out: str | Path | None) -> None:
        """Write tables and picture under `results`, then the checkpoint, each atomically.

        The split lists the training clips of other corpora, too. All tables are written before the first one gets its
        final name.
        """
        foreign = [clips[clips["emotion"].isin(self.run.labels)] for clips in self.run.recipe.other_corpora]
        parts = self.parts | {"training": pd.concat([self.parts["training"], *foreign])}
        split = pd.concat([clips[["clip"]].assign(part=part) for part, clips in parts.items()]).sort_values("clip")
        tables = {"splits": split, "predictions": self.predictions}
        if self.adapted is not None:
            tables["adapted"] = self.adapted
        if self.history is not None:
            tables["histories"] = self.history
        files = self.run.files(results)
        with ExitStack() as unnamed:
            for kind, table in tables.items():
                files[kind].parent.mkdir(parents=True, exist_ok=True)
                table.to_csv(unnamed.enter_context(replaced(files[kind])), index=False, float_format="%.5f")
            if self.history is not None:
                use_style()
                files["picture"].parent.mkdir(parents=True, exist_ok=True)
                save_picture(plot_run(self.history, self.predictions, self.run.name), files["picture"])
        if out:
            save_checkpoint(out, self.checkpoint)


def carry_out(run: Run, clips: pd.DataFrame, device: str = "auto", cache_dir: str | Path = ".cache") -> Outcome:
    """Train, and classify the held-out clips as eval.py would.

    Raises ValueError, before training starts, if a clip cannot be read or the clips cannot be split.
    """
    parts = run.parts(clips)
    test, features = parts["test"], FeatureSettings()

    def check_readable(path: str) -> None:
        try:
            RecordingWindows(partial(stream_audio, path, features.sample_rate), features).find()
        except AudioError as error:
            raise ValueError(f"{path}: {error}") from error

    with ThreadPoolExecutor() as readers:
        list(readers.map(check_readable, test["path"]))
    checkpoint, history = run.recipe.fit(parts, run.chosen(clips), run.labels, choose_device(device), cache_dir)
    checkpoint.split = {"name": run.name, "test": sorted(test["clip"])}
    predictor = Predictor(checkpoint, device, speech_only=False)
    predictions = prediction_table(test, predictor.predict(test["path"]))
    adapted = None
    if run.fold is not None and predictor.network.takes_statistics:
        adapted = adapted_predictions(predictor, test)
    checkpoint.metrics = {"accuracy": accuracy(predictions), "uar": uar(predictions)}
    return Outcome(run, parts, checkpoint, history, predictions, adapted)


def adapted_predictions(predictor: Predictor, clips: pd.DataFrame) -> pd.DataFrame:
    """The prediction table with each speaker's own statistics, as with eval.py --adapt on each speaker alone."""
    tables = []
    for _, spoken in clips.groupby("speaker", sort=False):
        answers = predictor.answers(spoken["path"], statistics=Adaptation(predictor, spoken["path"]))
        tables.append(prediction_table(spoken, (answer.rows[0] for answer in answers)))
    return pd.concat(tables).sort_values("clip", ignore_index=True)
