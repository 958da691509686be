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
    >>> answers = predictor.answers(recordings, statistics=adaptation)
    """

    def __init__(
        self,
        predictor: Predictor,
        recordings: Iterable[str | Path],
        group_of: Callable[[str], Hashable] = GROUPS["all"],
        **options,
    ):
        """Listens to at most `LIMIT` recordings of each group, evenly chosen; `options` are those of embeddings.

        With channels `each`, every channel of a group is a voice of its own.

        `predictor` may be a ClusterPredictor. Raises ValueError for a network that takes no statistics.
        """
        if not predictor.network.takes_statistics:
            raise ValueError("this model cannot adapt to recordings; --model model_any_voice.pt can")
        self._predictor, self._group_of = predictor, group_of
        groups: dict[Hashable, list[str]] = {}
        for recording in map(str, recordings):
            groups.setdefault(group_of(recording), []).append(recording)
        self.n_recordings = sum(map(len, groups.values()))
        self.n_heard = 0
        self._statistics: dict[tuple[Hashable, int], torch.Tensor] = {}
        chosen = (path for members in groups.values() for path in members[:: ceil(len(members) / LIMIT)])
        results = predictor.embeddings(chosen, **options)  # in order, so that one group at a time is held
        for group, of_group in groupby(results, key=lambda result: group_of(result[0])):
            by_channel: dict[int, list[torch.Tensor]] = {}
            for _, found in of_group:
                self.n_heard += bool(found)
                for channel, embeddings in found.items():
                    by_channel.setdefault(channel, []).append(embeddings)
            for channel, embeddings in by_channel.items():
                self._statistics[group, channel] = self._of(torch.cat(embeddings))

    def __call__(self, path: str | Path, channel: int = 0) -> torch.Tensor:
        """Mean and deviation, (2, D), for a channel of a recording; those of training where nothing was heard."""
        known = self._statistics.get((self._group_of(str(path)), channel))
        return self._of(torch.empty(0, len(self._predictor.network.mean))) if known is None else known

    def _of(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self._predictor.network.statistics(embeddings.to(self._predictor.device)).cpu()

    def __str__(self) -> str:
        n = len(self._statistics)
        return f"adapted to {n} voice{'s' if n != 1 else ''}, by {self.n_heard} of {self.n_recordings} recordings"
