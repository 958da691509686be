"""--adapt: statistics of the user's own recordings, without labels, for networks that take them."""

from collections.abc import Callable, Hashable, Iterable
from itertools import groupby
from math import ceil
from pathlib import Path

import torch

from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.network import calibrated

# A group is not adapted if one of eight emotions has this share of its probability before adaptation; with another
# number of labels, a share equally far above chance. Chosen on the development fold: results/development.csv.
ONE_SIDED = 0.5
LIMIT = 300  # recordings of a group used for its statistics; more do not change them further
GROUPS: dict[str, Callable[[str], Hashable]] = {  # what counts as one voice or room, by the value of --adapt
    "all": lambda path: "",
    "folder": lambda path: path.rpartition("/")[0],
}


def check_adapts(predictor) -> None:
    """Raises ValueError for a network that takes no statistics."""
    if not predictor.network.takes_statistics:
        raise ValueError("this model cannot adapt to recordings; --model model_any_voice.pt can")


class Voices:
    """Accumulates the statistics of a group, recording by recording, as sums per channel."""

    def __init__(self, predictor: Predictor):
        self._network, self._device = predictor.network, predictor.device
        self._temperature = predictor.temperature
        # By channel: count; sums of embeddings and of their squares, (D,); sum of unadapted probabilities, (K,).
        self._sums: dict[int, tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self.n_recordings = 0  # with at least one stretch

    @torch.inference_mode()
    def hear(self, found: dict[int, torch.Tensor]) -> None:
        """Add a recording: its embeddings by channel, (stretches, D)."""
        self.n_recordings += bool(found)
        for channel, embeddings in found.items():
            probabilities = calibrated(self._network.classify(embeddings.to(self._device)), self._temperature)
            exact = embeddings.double()
            parts = (len(exact), exact.sum(dim=0), exact.square().sum(dim=0), probabilities.sum(dim=0).cpu())
            known = self._sums.get(channel, (0, 0, 0, 0))
            self._sums[channel] = tuple(one + other for one, other in zip(known, parts, strict=True))

    def statistics(self) -> dict[int, torch.Tensor]:
        """Mean and deviation, (2, D), by channel."""
        return {channel: self.statistics_of(channel) for channel in self._sums}

    def statistics_of(self, channel: int) -> torch.Tensor:
        """Mean and deviation, (2, D); those of training if the channel is empty or one emotion prevails."""
        n, *sums = 0, torch.zeros(()), torch.zeros(())
        if channel in self._sums and not self.is_one_sided(channel):
            n, *sums, _ = self._sums[channel]
        return self._network.statistics_of_sums(n, *(each.float().to(self._device) for each in sums)).cpu()

    def is_one_sided(self, channel: int) -> bool:
        """Whether one emotion prevails in a channel; normalising would then remove that emotion."""
        n, *_, probabilities = self._sums[channel]
        chance = 1 / len(probabilities)
        limit = chance + (1 - chance) * (ONE_SIDED - 1 / 8) / (1 - 1 / 8)
        return bool(probabilities.max() / n >= limit)

    @property
    def n_one_sided(self) -> int:
        return sum(map(self.is_one_sided, self._sums))


class Adaptation:
    """The statistics of the group that each recording belongs to.

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
        """Uses at most `LIMIT` recordings of each group, evenly chosen; `options` are those of embeddings.

        With channels `each`, every channel of a group is a separate voice.

        `predictor` may be a ClusterPredictor. Raises ValueError for a network that takes no statistics.
        """
        check_adapts(predictor)
        self._group_of = group_of
        groups: dict[Hashable, list[str]] = {}
        for recording in map(str, recordings):
            groups.setdefault(group_of(recording), []).append(recording)
        self.n_recordings = sum(map(len, groups.values()))
        self.n_heard = self.n_one_sided = 0
        self._statistics: dict[tuple[Hashable, int], torch.Tensor] = {}
        self._of_training = Voices(predictor).statistics_of(0)
        chosen = (path for members in groups.values() for path in members[:: ceil(len(members) / LIMIT)])
        results = predictor.embeddings(chosen, **options)  # in order, so only one group at a time is in memory
        for group, of_group in groupby(results, key=lambda result: group_of(result[0])):
            voices = Voices(predictor)
            for _, found in of_group:
                voices.hear(found)
            self.n_heard += voices.n_recordings
            self.n_one_sided += voices.n_one_sided
            self._statistics |= {(group, channel): each for channel, each in voices.statistics().items()}

    def __call__(self, path: str | Path, channel: int = 0) -> torch.Tensor:
        """Mean and deviation, (2, D), for a channel of a recording."""
        return self._statistics.get((self._group_of(str(path)), channel), self._of_training)

    def __str__(self) -> str:
        n, n_adapted = len(self._statistics), len(self._statistics) - self.n_one_sided
        voices = f"{n} voice{'s' if n != 1 else ''}" if n == n_adapted else f"{n_adapted} of {n} voices"
        sentence = f"adapted to {voices}, by {self.n_heard} of {self.n_recordings} recordings"
        if self.n_one_sided:
            sentence += f"; one emotion prevails in {self.n_one_sided}, which adapting would take away"
        return sentence
