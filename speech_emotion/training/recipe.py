"""How a network is trained: what runs, train.py and the notebooks ask of the recipe of each."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

from speech_emotion.models.checkpoint import Checkpoint
from speech_emotion.models.network import NETWORKS, Network

Parts = dict[str, pd.DataFrame]  # the clips for training, for validation if the recipe needs them, and for the test


class Recipe(Protocol):
    """A frozen dataclass of settings and of whatever else its network is trained with."""

    network: ClassVar[type[Network]]
    of_split: ClassVar[str]  # how the names of its runs on a random split begin
    of_fold: ClassVar[str]  # and of those that hold out actors
    options: ClassVar[tuple[str, ...]]  # those of train.py that only it has
    has_validation: ClassVar[bool]  # whether a tenth of the training clips is held out for validation
    settings: Any  # a dataclass with `seed`; the checkpoint stores it
    others: tuple[pd.DataFrame, ...]  # clips of other corpora that are trained on too

    @staticmethod
    def published_settings(shuffle_labels: bool, spoken: bool) -> Any:
        """The settings of the published runs, of the control with shuffled labels, or of those on spoken clips only."""

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> "Recipe":
        """The recipe that a command line of train.py asks for. Raises ValueError, NoDataError, CheckpointError."""

    def fit(
        self, parts: Parts, clips: pd.DataFrame, labels: list[str], device: torch.device, cache_dir: str | Path
    ) -> tuple[Checkpoint, pd.DataFrame | None]:
        """Train on `parts` of `clips`: the checkpoint, and loss and accuracy by epoch where there are epochs.

        Raises ValueError for a clip that cannot be read.
        """


def recipe_of(network: str) -> type[Recipe]:
    """The recipe for one of NETWORKS. Raises ValueError for another name."""
    if network not in NETWORKS:
        raise ValueError(f"there is no network {network!r}, only {', '.join(NETWORKS)}")
    module = import_module(f"{__package__}.{network.replace('-', '_')}")
    return getattr(module, f"{NETWORKS[network].__name__}Recipe")
