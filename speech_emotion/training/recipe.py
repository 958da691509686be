"""How a network is trained: the interface of recipes for runs, train.py and the notebooks."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.network import NETWORKS, Network

Parts = dict[str, pd.DataFrame]  # training, validation (if the recipe uses it) and test clips


class Recipe(Protocol):
    """A frozen dataclass with the settings and other inputs of a network's training."""

    network: ClassVar[type[Network]]
    of_split: ClassVar[str]  # prefix of the names of runs on random splits
    of_fold: ClassVar[str]  # prefix of the names of runs on folds by actor
    options: ClassVar[tuple[str, ...]]  # options of train.py that only this recipe takes
    has_validation: ClassVar[bool]  # whether a tenth of the training clips is held out for validation
    settings: Any  # a dataclass with `seed`; the checkpoint stores it
    others: tuple[pd.DataFrame, ...]  # clips of other corpora, also used for training

    @staticmethod
    def published_settings(shuffle_labels: bool, spoken: bool) -> Any:
        """The settings of the published runs, of the control with shuffled labels, or of runs on speech only."""

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "Recipe":
        """The recipe for the options of train.py. Raises ValueError, NoDataError, CheckpointError."""

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
