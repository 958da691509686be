"""--adapt: statistics of the user's own recordings, without labels, for networks that take them."""

from collections.abc import Callable, Hashable, Iterable
from functools import reduce
from math import ceil
from pathlib import Path

import torch

from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.models.any_voice import Moments
from speech_emotion.models.network import calibrated
from speech_emotion.terminal import count

# One emotion prevails if it has this share of the probability of eight before adaptation; with another number of
# labels, a share equally far above chance. results/EXPERIMENTS.md
ONE_SIDED = 0.5
# Weight, in stretches, of all recordings together in the statistics of one voice; results/EXPERIMENTS.md.
SHRINKAGE = 30.0
LIMIT = 300  # recordings of a group used for its statistics; more do not change them further
GROUPS: dict[str, Callable[[str], Hashable]] = {  # what counts as one voice or room, by the value of --adapt
    "all": lambda path: "",
    "folder": lambda path: path.rpartition("/")[0],
    "speaker": lambda path: "",  # Recording.voice tells the speakers apart
}


class Voices:
    """The statistics of voices: each channel of each group of recordings is one.

    They are shrunk twice: those of a voice towards those of all voices, and these towards those of training. A voice in
    which one emotion prevails gets those of all voices, because its own would take that emotion away; if it is the only
    voice, those of training.
    """

    def __init__(self, predictor: Predictor, group_of: Callable[[str], Hashable] = GROUPS["all"]):
        self._network, self._temperature, self._group_of = predictor.network, predictor.temperature, group_of
        self._moments: dict[tuple[Hashable, int], Moments] = {}
        self._probabilities: dict[tuple[Hashable, int], torch.Tensor] = {}  # sums of those without adaptation, (K,)
        self.n_recordings = 0  # with at least one stretch

    def __len__(self) -> int:
        return len(self._moments)

    @torch.inference_mode()
    def hear(self, path: str, embeddings: dict[int, torch.Tensor]) -> None:
        """Add a recording: its embeddings by channel, (stretches, D)."""
        self.n_recordings += bool(embeddings)
        for channel, of_channel in embeddings.items():
            voice, of_channel = (self._group_of(path), channel), of_channel.to(self._network.mean.device)
            moments, before = Moments.from_embeddings(of_channel), self._moments.get(voice)
            self._moments[voice] = before.pooled(moments) if before else moments
            probabilities = calibrated(self._network.classify(of_channel), self._temperature).sum(dim=0)
            self._probabilities[voice] = self._probabilities.get(voice, 0) + probabilities

    def one_sided(self) -> set[tuple[Hashable, int]]:
        """The voices in which one emotion prevails."""
        chance = 1 / self._network.settings.n_classes
        limit = chance + (1 - chance) * (ONE_SIDED - 1 / 8) / (1 - 1 / 8)
        return {voice for voice, total in self._probabilities.items() if total.max() / total.sum() >= limit}

    def statistics(self) -> Statistics:
        """A function from a path and a channel to mean and deviation, (2, D)."""
        training = torch.stack([self._network.mean, self._network.deviation])
        one_sided = self.one_sided()
        together = training
        if self._moments and not (len(self) == len(one_sided) == 1):
            together = self._network.shrunk(reduce(Moments.pooled, self._moments.values()))
        by_voice = dict.fromkeys(self._moments, together.cpu())
        if len(self) > 1:
            everyone = Moments(SHRINKAGE, together[0], together[1].square())
            for voice in self._moments.keys() - one_sided:
                by_voice[voice] = self._moments[voice].pooled(everyone).statistics().cpu()
        training = training.cpu()
        return lambda path, channel=0: by_voice.get((self._group_of(path), channel), training)


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
        if not predictor.network.takes_statistics:
            raise ValueError("this model cannot adapt to recordings; --model model_any_voice.pt can")
        groups: dict[Hashable, list[str]] = {}
        for recording in map(str, recordings):
            groups.setdefault(group_of(recording), []).append(recording)
        self.n_recordings = sum(map(len, groups.values()))
        self._voices = Voices(predictor, group_of)
        chosen = (path for members in groups.values() for path in members[:: ceil(len(members) / LIMIT)])
        for path, embeddings in predictor.embeddings(chosen, **options):
            self._voices.hear(path, embeddings)
        self._statistics = self._voices.statistics()

    def __call__(self, path: str | Path, channel: int = 0) -> torch.Tensor:
        """Mean and deviation, (2, D), for a channel of a recording."""
        return self._statistics(str(path), channel)

    def __str__(self) -> str:
        n, n_one_sided = len(self._voices), len(self._voices.one_sided())
        if n == n_one_sided == 1:
            return "not adapted: one emotion prevails, which adapting would take away"
        heard = f"{self._voices.n_recordings} of {self.n_recordings} recordings"
        sentence = f"adapted to {count(n, 'voice')}, by {heard}"
        if n_one_sided:
            sentence += f"; one emotion prevails in {n_one_sided}, which get the statistics of all"
        return sentence
