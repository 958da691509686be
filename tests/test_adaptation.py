"""The statistics of the user's own recordings, against a second calculation in numpy; nothing is read from disk."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small_any_voice

from speech_emotion.inference import adaptation
from speech_emotion.inference.adaptation import GROUPS, Adaptation

LABELS = ["calm", "happy", "sad"]


class Listener:
    """In place of a Predictor: what is heard in each recording, by channel."""

    device, temperature = torch.device("cpu"), 2.0

    def __init__(self, heard: dict[str, dict[int, np.ndarray]], labels=LABELS):
        self.network = small_any_voice(labels).network
        self.network.perceptron = None
        self.network.linear.weight.data.zero_()  # it finds all emotions equally likely
        self.network.linear.bias.data.zero_()
        self.heard, self.asked = heard, []

    def embeddings(self, paths, **options):
        for path in paths:
            self.asked.append((path, options))
            yield path, {channel: torch.from_numpy(x).float() for channel, x in self.heard[path].items()}


def sounds(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, size=(n, 128))


def statistics(network, *embeddings: np.ndarray) -> np.ndarray:
    """Mean and deviation, with ten embeddings of mean 0 and deviation 1 from training among them."""
    x, extra = np.concatenate(embeddings), network.settings.shrinkage
    mean = x.sum(axis=0) / (len(x) + extra)
    square = ((x**2).sum(axis=0) + extra) / (len(x) + extra)
    return np.stack([mean, np.sqrt(square - mean**2)])


def test_each_channel_of_each_folder_has_its_own_statistics():
    heard = {
        "a/1.wav": {0: sounds(4, 1), 1: sounds(3, 2)},
        "b/1.wav": {0: sounds(5, 3)},
        "a/2.wav": {0: sounds(6, 4)},
        "b/2.wav": {},
    }
    listener = Listener(heard)
    found = Adaptation(listener, list(heard), GROUPS["folder"], channels="each")
    network = listener.network
    for path, channel, expected in (
        ("a/1.wav", 0, statistics(network, heard["a/1.wav"][0], heard["a/2.wav"][0])),
        ("a/2.wav", 1, statistics(network, heard["a/1.wav"][1])),
        ("b/2.wav", 0, statistics(network, heard["b/1.wav"][0])),
        ("b/1.wav", 1, np.stack([np.zeros(128), np.ones(128)])),
        ("c/1.wav", 0, np.stack([np.zeros(128), np.ones(128)])),
    ):
        np.testing.assert_allclose(found(path, channel), expected, atol=1e-4)
    assert torch.equal(found("a/1.wav"), found("a/2.wav", 0))
    assert [path for path, _ in listener.asked] == ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"]
    assert all(options == {"channels": "each"} for _, options in listener.asked)
    assert str(found) == "adapted to 3 voices, by 3 of 4 recordings"


def test_all_recordings_are_one_voice_unless_told_otherwise():
    heard = {"a/1.wav": {0: sounds(4, 1)}, "b/1.wav": {0: sounds(5, 3)}}
    found = Adaptation(Listener(heard), heard)
    np.testing.assert_allclose(
        found("a/1.wav"), statistics(Listener({}).network, sounds(4, 1), sounds(5, 3)), atol=1e-4
    )
    assert str(found) == "adapted to 1 voice, by 2 of 2 recordings"


@pytest.mark.parametrize(("n", "chosen"), [(3, [0, 1, 2]), (4, [0, 2]), (7, [0, 3, 6]), (9, [0, 3, 6])])
def test_of_many_recordings_some_are_heard_evenly_chosen(monkeypatch, n, chosen):
    monkeypatch.setattr(adaptation, "LIMIT", 3)
    listener = Listener({f"{number}.wav": {0: sounds(2, number)} for number in range(n)})
    found = Adaptation(listener, listener.heard)
    assert [path for path, _ in listener.asked] == [f"{number}.wav" for number in chosen]
    assert str(found) == f"adapted to 1 voice, by {len(chosen)} of {n} recordings"


@pytest.mark.parametrize(("n_labels", "limit"), [(8, 0.5), (2, 0.5 + 0.5 * 3 / 7), (20, 0.05 + 0.95 * 3 / 7)])
def test_a_voice_of_one_emotion_is_left_alone_from_a_limit_on(n_labels, limit):
    """The limit is as far above chance as a half is among eight emotions; probabilities are at the temperature."""
    labels = [f"label {number}" for number in range(n_labels)]
    for share, is_one_sided in ((limit - 0.002, False), (limit + 0.002, True)):
        listener = Listener({"a.wav": {0: sounds(2, 1)}, "b.wav": {0: sounds(4, 2)}}, labels)
        network = listener.network
        probabilities = torch.tensor([share] + [(1 - share) / (n_labels - 1)] * (n_labels - 1))
        network.linear.bias.data = 2 * probabilities.log()
        found = Adaptation(listener, listener.heard)
        assert found.n_one_sided == is_one_sided
        expected = np.stack([np.zeros(128), np.ones(128)])
        if not is_one_sided:
            expected = statistics(network, sounds(2, 1), sounds(4, 2))
        np.testing.assert_allclose(found("a.wav"), expected, atol=1e-4)
        sentence = "adapted to 0 of 1 voices, by 2 of 2 recordings; one emotion prevails in 1, which adapting would"
        assert str(found).startswith(sentence) == is_one_sided


def test_a_network_that_takes_no_statistics_is_refused():
    listener = SimpleNamespace(network=SimpleNamespace(takes_statistics=False))
    with pytest.raises(ValueError, match="cannot adapt to recordings; --model model_any_voice.pt can"):
        Adaptation(listener, [])
