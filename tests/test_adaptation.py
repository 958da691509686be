"""The statistics of the user's own recordings, against a second calculation in numpy; nothing is read from disk."""

import numpy as np
import pytest
import torch
from conftest import shrunk, small_any_voice

from speech_emotion.inference import adaptation
from speech_emotion.inference.adaptation import GROUPS, SHRINKAGE, Adaptation

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


def test_voices_are_shrunk_towards_all_of_them_and_these_towards_training():
    heard = {
        "a/1.wav": {0: sounds(4, 1), 1: sounds(3, 2)},
        "b/1.wav": {0: sounds(5, 3)},
        "a/2.wav": {0: sounds(6, 4)},
        "b/2.wav": {},
    }
    listener = Listener(heard)
    found = Adaptation(listener, list(heard), GROUPS["folder"], channels="each")
    everything = np.concatenate([x for channels in heard.values() for x in channels.values()])
    together = shrunk(everything, listener.network.settings.shrinkage)
    training = np.zeros(128), np.ones(128)
    for path, channel, expected in (
        ("a/1.wav", 0, shrunk(np.concatenate([heard["a/1.wav"][0], heard["a/2.wav"][0]]), SHRINKAGE, *together)),
        ("a/2.wav", 1, shrunk(heard["a/1.wav"][1], SHRINKAGE, *together)),
        ("b/2.wav", 0, shrunk(heard["b/1.wav"][0], SHRINKAGE, *together)),
        ("b/1.wav", 1, training),
        ("c/1.wav", 0, training),
    ):
        np.testing.assert_allclose(found(path, channel), np.stack(expected), atol=1e-4)
    assert torch.equal(found("a/1.wav"), found("a/2.wav", 0))
    assert [path for path, _ in listener.asked] == ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"]
    assert all(options == {"channels": "each"} for _, options in listener.asked)
    assert str(found) == "adapted to 3 voices, by 3 of 4 recordings"


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
        expected = np.zeros(128), np.ones(128)
        if not is_one_sided:
            expected = shrunk(np.concatenate([sounds(2, 1), sounds(4, 2)]), network.settings.shrinkage)
        np.testing.assert_allclose(found("a.wav"), np.stack(expected), atol=1e-4)
        assert str(found).startswith("not adapted: one emotion prevails") == is_one_sided


def test_one_sided_voices_among_others_get_the_statistics_of_all():
    listener = Listener({"a/1.wav": {0: sounds(4, 1)}, "b/1.wav": {0: sounds(5, 2) + 100}})
    listener.network.linear.weight.data[0] = 1.0  # what is far above the mean is calm
    found = Adaptation(listener, listener.heard, GROUPS["folder"])
    together = shrunk(np.concatenate([sounds(4, 1), sounds(5, 2) + 100]), listener.network.settings.shrinkage)
    np.testing.assert_allclose(found("b/1.wav"), np.stack(together), rtol=1e-4)
    assert str(found).endswith("; one emotion prevails in 2, which get the statistics of all")
