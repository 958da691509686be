"""What Predictor asks of a network, with one so small that its answers can be worked out by hand."""

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.inference import predictor
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import Checkpoint


class Loudness(nn.Module):
    """Embeds a window as (its loudest sample, 1); calls it loud by how far that lies above the mean."""

    features = WindowSettings(sample_rate=16_000, window_start_s=0.0, window_s=1.0)
    takes_statistics, speech_only = True, False

    def front_end(self, samples: torch.Tensor) -> torch.Tensor:
        return samples.abs().amax(dim=1, keepdim=True)

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([inputs, torch.ones_like(inputs)], dim=1)

    def classify(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        if statistics is not None:
            embedding = (embedding - statistics[:, 0]) / statistics[:, 1]
        return torch.stack([embedding[:, 0], torch.zeros(len(embedding))], dim=1)

    def for_inference(self) -> "Loudness":
        return self


@pytest.fixture
def loudness() -> Predictor:
    return Predictor(Checkpoint(Loudness(), ["loud", "soft"]), "cpu")


@pytest.fixture
def paths(tmp_path) -> list[str]:
    """A second at a peak of 0.5, three at 0.25, and what is no recording."""
    for name, seconds, peak in (("a", 1, 0.5), ("b", 3, 0.25)):
        tone = peak * np.sin(np.pi / 2 * np.arange(seconds * 16_000))
        soundfile.write(tmp_path / f"{name}.wav", tone, 16_000, subtype="FLOAT")
    (tmp_path / "c.wav").write_text("this is not audio")
    return [str(tmp_path / f"{name}.wav") for name in "abc"]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_any_network_with_the_methods_is_classified_with_its_statistics(loudness, paths, batch_size):
    statistics = torch.tensor([[[0.5, 1.0], [1.0, 1.0]], [[0.0, 1.0], [0.25, 1.0]]])
    asked = {(path, 0): each for path, each in zip(paths, statistics, strict=False)}
    plain = [row["loud"] for row in loudness.predict(paths, batch_size)]
    answers = loudness.answers(paths, batch_size, statistics=lambda *window: asked[window])
    adapted = [answer.rows[0]["loud"] for answer in answers]
    # The logits are (peak, 0), and with statistics ((peak - mean) / deviation, 0): 0.5 and 0.25, then 0 and 1.
    assert plain[:2] == pytest.approx([1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-0.25))], abs=1e-3)
    assert adapted[:2] == pytest.approx([0.5, 1 / (1 + np.exp(-1))], abs=1e-3)
    assert plain[2] is adapted[2] is None


def test_a_stretch_counts_as_long_as_it_can_be_heard(loudness, tmp_path):
    """Half a second, and twice a tenth with a pause that is too short to divide them."""
    parts = [(0.5, 1e-5), (0.5, 0.5), (1.5, 1e-5), (0.1, 0.25), (0.3, 1e-5), (0.1, 0.25), (0.5, 1e-5)]
    samples = np.concatenate([np.full(round(seconds * 16_000), peak) for seconds, peak in parts])
    samples *= np.sin(np.pi / 2 * np.arange(len(samples)))
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    (answer,) = loudness.answers([tmp_path / "a.wav"])
    loud = [stretch["loud"] for stretch in answer.stretches]
    assert [round(stretch["end"] - stretch["start"], 1) for stretch in answer.stretches] == [0.5, 0.5]
    assert answer.rows[0]["loud"] == pytest.approx(np.average(loud, weights=[0.5, 0.2]), abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_recording_may_end_with_what_is_read_at_once_or_have_no_window(loudness, paths, batch_size, monkeypatch):
    """Also the same one twice in a row, and what has no window before, between and after others."""
    a, b, broken = paths
    asked = [broken, b, broken, broken, a, b, b, broken]
    alone = {path: next(loudness.answers([path])) for path in paths}
    n_windows = len(alone[b].stretches)
    for at_once in (1, n_windows - 1, n_windows, n_windows + 1):
        monkeypatch.setattr(predictor, "_READ_AT_ONCE", at_once)
        found = list(loudness.answers(asked, batch_size, workers=2))
        assert [answer.rows for answer in found] == [alone[path].rows for path in asked]
        assert [answer.stretches for answer in found] == [alone[path].stretches for path in asked]


def test_endless_paths_are_read_slightly_ahead_and_their_errors_are_raised(loudness, paths):
    taken = []

    def endless(last=None):
        while len(taken) != last:
            taken.append(paths[0])
            yield paths[0]
        raise LookupError("no more")

    rows = loudness.predict(endless(), batch_size=2, workers=1)
    assert [next(rows)["emotion"] for _ in range(5)] == ["loud"] * 5
    rows.close()
    assert 5 < len(taken) < 25
    taken.clear()
    with pytest.raises(LookupError):
        list(loudness.predict(endless(9), batch_size=2, workers=1))


def test_what_is_heard_is_told_window_by_window_in_order(loudness, paths):
    told = []
    answers = loudness.answers(
        [paths[1], paths[2], paths[0]],
        batch_size=2,
        heard=lambda recording, window: told.append((recording.path, *window.span)),
    )
    stretches = [row for answer in answers for row in answer.stretches]
    assert told == [(row["url"], row["start"], row["end"]) for row in stretches] and len(told) > 3


def test_a_single_path_is_one_recording_and_a_folder_all_that_are_in_it(loudness, paths, tmp_path):
    assert [row["url"] for row in loudness.predict(paths[0])] == paths[:1]
    assert [row["url"] for row in loudness.predict(tmp_path / "a.wav")] == paths[:1]
    assert [row["url"] for row in loudness.predict(tmp_path)] == paths
    assert [row["url"] for row in loudness.predict([paths[1], str(tmp_path)])] == [paths[1], *paths]


def test_what_is_no_path_is_refused(loudness, paths):
    with open(paths[0], "rb") as file:
        for recording in (b"RIFF", file, [paths[0], b"RIFF"], [file], np.zeros(10)):
            with pytest.raises(TypeError, match="a recording is given by its path, not as .* predict_waveform"):
                list(loudness.predict(recording))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "int16", "int32", "uint8", "uint16", "uint32"])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda samples: np.stack([samples, samples], axis=1)])
def test_samples_of_every_type_are_scaled(loudness, dtype, make):
    tone = 0.5 * np.sin(np.pi / 2 * np.arange(16_000))  # which gives the logits (0.5, 0)
    full_scale = 1 if dtype[0] == "f" else 2 ** (8 * np.dtype(dtype).itemsize - 1)
    samples = (tone * full_scale + (dtype[0] == "u") * full_scale).astype(dtype)
    row = loudness.predict_waveform(make(samples), 16_000)
    assert row["loud"] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=4e-3)


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros((2, 3, 4)), "samples must be"),
        (np.zeros((2, 16_000)), r"samples are \(samples, channels\), not \(2, 16000\); transpose them"),
        (b"1234", r"samples are numbers, not bytes; np.frombuffer"),
        (np.zeros(16_000, np.int64), "samples are floats, or integers of 8 to 32 bits, not int64"),
        (torch.zeros(16_000, dtype=torch.bool), "samples are floats, or integers of 8 to 32 bits, not bool"),
    ],
)
def test_samples_that_could_be_misunderstood_are_refused(loudness, samples, sentence):
    with pytest.raises(ValueError, match=sentence):
        loudness.predict_waveform(samples, 16_000)
