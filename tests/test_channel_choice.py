"""A channel without a voice does not silence the one with it, mixed or separate."""

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio
from speech_emotion.inference.predictor import Predictor

RATE = 16_000


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(REPOSITORY / "model_any_voice.pt", "cpu", speech_only=True)


def other_sound(name: str, n: int) -> np.ndarray:
    """(n,) of a time code, a metronome or music, louder than a voice."""
    time = np.arange(n) / RATE
    if name == "time code":
        bits = np.random.default_rng(0).integers(0, 2, n // 8 + 1).repeat(8)[:n]
        return 0.3 * np.sign(np.sin(2 * np.pi * 1000 * time) * (bits - 0.5))
    if name == "metronome":
        return 0.8 * np.sin(2 * np.pi * 1500 * time) * np.exp(-(time % 0.5) / 0.01)
    notes = 220 * 2 ** (np.random.default_rng(0).integers(0, 12, n // 4000 + 1).repeat(4000)[:n] / 12)
    return 0.4 * sum(np.sin(k * 2 * np.pi * np.cumsum(notes) / RATE) / k for k in (1, 2, 3))


@pytest.mark.parametrize("sound", ["time code", "metronome", "music"])
@pytest.mark.parametrize("seconds", [0, 35])  # of silence before the voice; a long recording is read in pieces
def test_a_voice_is_found_beside_another_sound(tmp_path, predictor, sound, seconds):
    voice = load_audio(REPOSITORY / "eval_data" / "even_male.flac", RATE).numpy()
    voice = np.concatenate([np.zeros(seconds * RATE), voice])
    soundfile.write(tmp_path / "alone.wav", voice, RATE)
    soundfile.write(tmp_path / "both.wav", np.stack([other_sound(sound, len(voice)), voice], axis=1), RATE)
    (alone,) = predictor.predict(tmp_path / "alone.wav")
    (mixed,) = predictor.predict(tmp_path / "both.wav")
    assert alone["emotion"] == mixed["emotion"] != ""
    assert mixed["confidence"] == pytest.approx(alone["confidence"], abs=0.01)
    (answer,) = predictor.answers(tmp_path / "both.wav", channels="each")
    first, second = answer.rows
    assert (first["channel"], second["channel"]) == (1, 2) and first["error"] == "nobody speaks"
    assert second["emotion"] == alone["emotion"]
