"""A row for each channel; and one without a voice does not silence the one with it, mixed or separate."""

import numpy as np
import pysubs2
import pytest
import soundfile
import torch
from conftest import REPOSITORY, read_rows, run_eval
from praatio import textgrid

from speech_emotion.audio.resampling import load_audio
from speech_emotion.inference.adaptation import GROUPS, Adaptation
from speech_emotion.inference.predictor import Predictor

RATE, LOW = 48_000, 16_000


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Two voices that take turns, one in each channel, 20 dB of each in the other's; and each voice alone."""
    folder = tmp_path_factory.mktemp("call")
    left, right = (
        load_audio(REPOSITORY / "eval_data" / name, RATE).numpy() for name in ("lively_female.flac", "even_male.flac")
    )
    pause = np.zeros(RATE)
    left = np.concatenate([left, pause, np.zeros_like(right), pause])
    right = np.concatenate([np.zeros(len(left) - len(right) - RATE), right, pause])
    soundfile.write(folder / "call.wav", np.stack([left + 0.1 * right, right + 0.1 * left], axis=1), RATE)
    soundfile.write(folder / "left.wav", left, RATE)
    soundfile.write(folder / "right.wav", right, RATE)
    return folder


def test_each_channel_has_the_row_of_its_voice_alone(call, tmp_path):
    result = run_eval(call / "call.wav", "--channels", "each", "--timeline", "t.csv", "--plot", "p.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows, stretches = read_rows(tmp_path / "out.csv"), read_rows(tmp_path / "t.csv")
    assert [row["channel"] for row in rows] == ["1", "2"] and {row["channel"] for row in stretches} == {"1", "2"}
    assert max(float(row["end"]) for row in stretches if row["channel"] == "1") < min(
        float(row["start"]) for row in stretches if row["channel"] == "2"
    )
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert run_eval(call / "left.wav", call / "right.wav", cwd=tmp_path).returncode == 0
    for channel, alone in zip(rows, read_rows(tmp_path / "out.csv"), strict=True):
        labels = [column for column in alone if column not in ("url", "emotion", "error")]
        expected = [float(alone[label]) for label in labels]
        assert [float(channel[label]) for label in labels] == pytest.approx(expected, abs=0.05)
        assert channel["emotion"] == alone["emotion"]


def test_a_track_has_a_tier_for_each_channel(call, tmp_path):
    for name in ("t.TextGrid", "t.vtt"):
        assert run_eval(call / "call.wav", "--channels", "each", "--timeline", name, cwd=tmp_path).returncode == 0
    grid = textgrid.openTextgrid(str(tmp_path / "t.TextGrid"), includeEmptyIntervals=False)
    assert list(grid.tierNames) == ["channel 1", "channel 2"]
    assert {subtitle.text.split(": ")[0] for subtitle in pysubs2.load(str(tmp_path / "t.vtt"))} == {"1", "2"}


def test_mixing_different_voices_suggests_the_option_once(call, tmp_path):
    result = run_eval(call / "call.wav", call / "left.wav", cwd=tmp_path)
    assert result.stdout.count("--channels each") == 1 and "1 recording has different sound" in result.stdout
    assert "channel" not in read_rows(tmp_path / "out.csv")[0]
    assert "--channels each" not in run_eval(call / "left.wav", cwd=tmp_path).stdout


def test_every_channel_is_a_voice_of_its_own_under_adapt(call):
    predictor = Predictor(REPOSITORY / "model_any_voice.pt", "cpu")
    paths = [str(call / "call.wav"), str(call / "left.wav"), str(call / "right.wav")]
    both = Adaptation(predictor, paths[:1], GROUPS["folder"], channels="each")
    left, right = (Adaptation(predictor, [path], GROUPS["folder"])(path) for path in paths[1:])
    # A few stretches move a voice's statistics only a little from those of both, but in its own direction.
    directions = torch.stack([(both(paths[0], 0) - both(paths[0], 1)).flatten(), (left - right).flatten()])
    assert torch.corrcoef(directions)[0, 1] > 0.9


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(REPOSITORY / "model_any_voice.pt", "cpu", speech_only=True)


def other_sound(name: str, n: int) -> np.ndarray:
    """(n,) of a time code, a metronome or music, louder than a voice."""
    time = np.arange(n) / LOW
    if name == "time code":
        bits = np.random.default_rng(0).integers(0, 2, n // 8 + 1).repeat(8)[:n]
        return 0.3 * np.sign(np.sin(2 * np.pi * 1000 * time) * (bits - 0.5))
    if name == "metronome":
        return 0.8 * np.sin(2 * np.pi * 1500 * time) * np.exp(-(time % 0.5) / 0.01)
    notes = 220 * 2 ** (np.random.default_rng(0).integers(0, 12, n // 4000 + 1).repeat(4000)[:n] / 12)
    return 0.4 * sum(np.sin(k * 2 * np.pi * np.cumsum(notes) / LOW) / k for k in (1, 2, 3))


@pytest.mark.parametrize(("sound", "seconds"), [("time code", 0), ("metronome", 0), ("music", 0), ("time code", 35)])
def test_a_voice_is_found_beside_another_sound(tmp_path, predictor, sound, seconds):
    """After `seconds` of silence; a long recording is read in pieces."""
    voice = load_audio(REPOSITORY / "eval_data" / "even_male.flac", LOW).numpy()
    voice = np.concatenate([np.zeros(seconds * LOW), voice])
    soundfile.write(tmp_path / "alone.wav", voice, LOW)
    soundfile.write(tmp_path / "both.wav", np.stack([other_sound(sound, len(voice)), voice], axis=1), LOW)
    (alone,) = predictor.predict(tmp_path / "alone.wav")
    (mixed,) = predictor.predict(tmp_path / "both.wav")
    assert alone["emotion"] == mixed["emotion"] != ""
    assert mixed["confidence"] == pytest.approx(alone["confidence"], abs=0.01)
    (answer,) = predictor.answers(tmp_path / "both.wav", channels="each")
    first, second = answer.rows
    assert (first["channel"], second["channel"]) == (1, 2) and first["error"] == "nobody speaks"
    assert second["emotion"] == alone["emotion"]
