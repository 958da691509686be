"""The answers of the page, without a server: waveforms, and uploads a few windows at a time."""

import numpy as np
import pytest
import soundfile
from conftest import small_any_voice, write_noise

pytest.importorskip("fastapi")

from starlette.datastructures import UploadFile

from speech_emotion.audio.reading import read_pieces
from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import Outline, answer_all
from speech_emotion.serving.guard import Limits


def test_the_outline_of_a_recording_keeps_every_peak_in_its_place(tmp_path):
    samples = np.random.default_rng(0).normal(scale=0.1, size=65 * 44_100).clip(-0.5, 0.5)
    samples[round(31.5 * 44_100)], samples[-1] = 0.9, -0.8
    soundfile.write(tmp_path / "long.wav", samples, 44_100)
    outline = Outline()
    outline.begin()
    for piece in read_pieces(tmp_path / "long.wav"):
        outline.add(*piece)
    outline.merge()
    (peaks,) = outline.channels
    assert outline.duration_s == 65 and 900 < len(peaks) <= 1000 and min(peaks) > 0.1
    assert np.argmax(peaks) == 3150 // 7 and max(peaks) == pytest.approx(0.9, abs=1e-3)
    assert peaks[-1] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("adapt", [False, True])
def test_uploads_are_embedded_a_few_windows_at_a_time_and_deleted_once_they_are_answered(tmp_path, adapt):
    predictor = Predictor(small_any_voice(["calm", "sad"]), speech_only=False)
    n_windows, embed = [], predictor.network.embed
    predictor.network.embed = lambda inputs: n_windows.append(len(inputs)) or embed(inputs)
    uploads = []
    for name, seconds in (("a", 70), ("b", 5)):
        write_noise(tmp_path / f"{name}.wav", ord(name), seconds)
        content = (tmp_path / f"{name}.wav").open("rb")
        uploads.append(UploadFile(content, filename=name, size=1))
    shares = []

    def observed(work):
        while True:
            try:
                shares.append(next(work))
            except StopIteration as end:
                return end.value

    replies = observed(answer_all(predictor, uploads, Limits(), adapt))
    assert max(n_windows) <= 16 and 25 < sum(n_windows) < 35  # each once
    assert len({*shares}) > 3 and shares == sorted(shares) and shares[0] >= 0 and shares[-1] == 1
    assert all(upload.file.closed for upload in uploads)
    for reply in replies:
        content = reply.for_page()
        (row,), (waveform,) = content["rows"], content["waveforms"]
        assert row["emotion"] and row["timeline"] and 500 <= len(waveform) <= 1000
