"""The statistics of the user's own recordings, without labels, for networks that take them."""

from collections.abc import Callable, Hashable, Iterable
from itertools import groupby
from math import ceil
from pathlib import Path

import torch

from speech_emotion.inference.predictor import Predictor

LIMIT = 300  # recordings of a group that are listened to; more change the statistics no further
GROUPS: dict[str, Callable[[str], Hashable]] = {  # what is taken as one voice or room, by what --adapt says
    "all": lambda path: "",
    "folder": lambda path: path.rpartition("/")[0],
}


class Adaptation:
    """Which statistics each recording is judged by: those of its group.

    >>> adaptation = Adaptation(predictor, recordings, GROUPS["folder"])
    >>> rows = predictor.predict_windows(recordings, statistics=adaptation)
    """

    def __init__(
        self,
        predictor: Predictor,
        recordings: Iterable[str | Path],
        group_of: Callable[[str], Hashable] = GROUPS["all"],
        **options,
    ):
        """Listens to at most `LIMIT` recordings of each group, evenly chosen; `options` are those of predict_windows.

        `predictor` may be a ClusterPredictor. Raises ValueError for a network that takes no statistics.
        """
        if not predictor.network.takes_statistics:
            raise ValueError("this model cannot adapt to recordings; --model model_any_voice.pt can")
        self._group_of = group_of
        groups: dict[Hashable, list[str]] = {}
        for recording in map(str, recordings):
            groups.setdefault(group_of(recording), []).append(recording)
        self.n_recordings = sum(map(len, groups.values()))
        self.n_heard = 0
        self._statistics = {}
        chosen = (path for members in groups.values() for path in members[:: ceil(len(members) / LIMIT)])
        results = predictor.embeddings(chosen, **options)  # in order, so that one group at a time is held
        for group, of_group in groupby(results, key=lambda result: group_of(result[0])):
            embeddings = [found for _, found in of_group if isinstance(found, torch.Tensor)]
            self.n_heard += len(embeddings)
            together = torch.cat(embeddings) if embeddings else torch.empty(0, len(predictor.network.mean))
            self._statistics[group] = predictor.network.statistics(together.to(predictor.device)).cpu()

    def __call__(self, path: str | Path) -> torch.Tensor:
        """Mean and deviation, (2, D), for a recording."""
        return self._statistics[self._group_of(str(path))]

    def __str__(self) -> str:
        groups = f"{len(self._statistics)} group{'s' if len(self._statistics) != 1 else ''}"
        return f"adapted to {groups}, by {self.n_heard} of {self.n_recordings} recordings"
