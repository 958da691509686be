"""How uploads are read on the way to their answers."""

import numpy as np
import pytest
import soundfile
from conftest import small_any_voice, write_noise

pytest.importorskip("fastapi")

from speech_emotion.audio.reading import read_pieces
from speech_emotion.inference.live import at_once
from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving import answers
from speech_emotion.serving.envelope import Envelope
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.page import render
from speech_emotion.serving.uploads import Upload


def test_the_outline_of_a_recording_keeps_every_peak_in_its_place(tmp_path):
    samples = np.random.default_rng(0).normal(scale=0.1, size=65 * 44_100).clip(-0.5, 0.5)
    samples[round(31.5 * 44_100)], samples[-1] = 0.9, -0.9
    soundfile.write(tmp_path / "long.wav", samples, 44_100)
    envelope = Envelope()
    for piece in read_pieces(tmp_path / "long.wav"):
        envelope.add(*piece)
    ((low, high),) = envelope.merged(n_points=650)
    assert envelope.duration_s == 65 and len(low) == len(high) == 650
    assert high.argmax() == 315 and high.max() == pytest.approx(0.9, abs=1e-3)
    assert low.argmin() == 649 and low.min() == pytest.approx(-0.9, abs=1e-3)
    assert envelope.merged().shape[2] <= 1000


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("seconds, n", [(5, 1), (35, 2)])
def test_an_upload_is_decoded_once_and_one_that_is_longer_than_a_piece_twice(tmp_path, monkeypatch, adapt, seconds, n):
    """Its levels, its windows and its picture, with and without adaptation."""
    decoded = []
    monkeypatch.setattr(answers, "read_pieces", lambda path, **kw: decoded.append(path) or read_pieces(path, **kw))
    uploads = [Upload(name, tmp_path / name) for name in ("a", "b")]
    for number, upload in enumerate(uploads):
        write_noise(tmp_path / f"{upload.name}.wav", number, seconds)
        (tmp_path / f"{upload.name}.wav").rename(upload.path)
    predictor = Predictor(small_any_voice(["calm", "sad"]), "cpu")
    found = at_once(answers.answer_all(predictor, uploads, Limits(), render, adapt))
    assert [answer.rows[0]["error"] for answer in found] == ["", ""] and all("<img" in each.html for each in found)
    assert sorted(decoded) == sorted(n * [upload.path for upload in uploads])
    assert not any(upload.path.exists() for upload in uploads)
