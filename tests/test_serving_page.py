"""The answers of the page, without a server: waveforms, and uploads a few windows at a time."""

import numpy as np
import pytest
import soundfile
from conftest import small_any_voice, write_noise

pytest.importorskip("fastapi")

from starlette.datastructures import UploadFile

from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import answer_all
from speech_emotion.serving.guard import Limits


@pytest.mark.parametrize("adapt", [False, True])
def test_uploads_are_answered_in_turns_and_deleted_and_every_peak_of_a_waveform_is_in_its_place(tmp_path, adapt):
    samples = np.random.default_rng(0).normal(scale=0.1, size=65 * 44_100).clip(-0.5, 0.5)
    samples[round(31.5 * 44_100)], samples[-1] = 0.9, -0.8
    soundfile.write(tmp_path / "long.wav", samples, 44_100)
    write_noise(tmp_path / "short.wav", 0, seconds=5)
    uploads = [UploadFile((tmp_path / name).open("rb"), filename=name, size=1) for name in ("long.wav", "short.wav")]
    predictor = Predictor(small_any_voice(["calm", "sad"]), speech_only=False)
    replies = []

    def work():
        replies.extend((yield from answer_all(predictor, uploads, Limits(), adapt)))

    shares = list(work())
    assert len({*shares}) > 3 and shares == sorted(shares) and shares[0] >= 0 and shares[-1] == 1
    assert all(upload.file.closed for upload in uploads)
    long, short = (reply.for_page() for reply in replies)
    for content in (long, short):
        (row,) = content["rows"]
        assert row["emotion"] and row["timeline"]
    (peaks,) = long["waveforms"]
    assert long["length"] == 65 and 900 < len(peaks) <= 1000 and min(peaks) > 0.1
    assert np.argmax(peaks) == 3150 // 7 and max(peaks) == pytest.approx(0.9, abs=1e-3)
    assert peaks[-1] == pytest.approx(0.8, abs=1e-3)
