"""Recordings with a voice in each channel: a row for each, on the command line and under --adapt and --resume."""

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

RATE = 48_000


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


def test_a_silent_channel_has_an_error_and_the_other_its_emotion(tmp_path):
    voice = load_audio(REPOSITORY / "eval_data" / "lively_female.flac", RATE).numpy()
    soundfile.write(tmp_path / "a.wav", np.stack([voice, np.zeros_like(voice)], axis=1), RATE)
    result = run_eval("a.wav", "--channels", "each", "--timeline", "t.csv", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    first, second = read_rows(tmp_path / "out.csv")
    assert first["emotion"] and (second["channel"], second["emotion"]) == ("2", "")
    assert second["error"] == "nobody speaks"
    assert {row["channel"] for row in read_rows(tmp_path / "t.csv")} == {"1"}
