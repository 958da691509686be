"""The content of the page: headings, pictures and text, without a server."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import small_any_voice, write_noise

pytest.importorskip("fastapi")

from starlette.datastructures import UploadFile

from speech_emotion.evaluation.plots import use_style
from speech_emotion.inference.live import at_once
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import recording_row, stretch_row
from speech_emotion.serving.answers import Outline, Reply, answer_all
from speech_emotion.serving.guard import Limits
from speech_emotion.serving.page import fill_page, headline, render
from speech_emotion.serving.service import Service

LABELS = ["calm", "sad", "angry"]


def stretches(*emotions: str, step: float = 3.0) -> list[dict]:
    """Of 3 s each; a name that ends in ? has a close second."""
    rows = []
    for n, name in enumerate(emotions):
        first = LABELS.index(name.rstrip("?"))
        probabilities = [0.19] * 3 if name.endswith("?") else [0.05] * 3
        probabilities[first] = 0.45 if name.endswith("?") else 0.9
        probabilities[first - 1] = 0.36 if name.endswith("?") else 0.05
        rows.append(stretch_row("a.wav", LABELS, probabilities, (n * step, n * step + 3)))
    return rows


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (stretches("sad"), "sad, 90%"),
        (stretches("sad?"), "sad, 45% (uncertain)"),
        (stretches("calm", "calm"), "calm throughout"),
        (stretches(*["calm"] * 4, *["angry"] * 3, "calm"), "mostly calm; angry from 0:12 to 0:21"),
        (stretches("calm", "sad"), "mixed: calm from 0:00 to 0:03; sad from 0:03 to 0:06"),
        (stretches("calm", "calm", "sad", step=1900), "mostly calm; sad from 1:03:20 to 1:03:23"),
        (
            stretches(*["calm", "angry"] * 2, *["calm", "sad", "sad"] * 2, "calm", "angry", *["calm"] * 4),
            "mostly calm; angry from 0:03 to 0:06; sad from 0:15 to 0:21; sad from 0:24 to 0:30; 2 shorter parts",
        ),
    ],
)
def test_the_parts_of_a_recording_in_words(given, sentence):
    assert headline(recording_row("a.wav", LABELS, given, [1] * len(given)), given) == sentence


def test_uploads_are_embedded_a_few_windows_at_a_time_and_deleted_once_they_are_answered(tmp_path):
    predictor = Predictor(small_any_voice(["calm", "sad"]), speech_only=False)
    n_windows, embed = [], predictor.network.embed
    predictor.network.embed = lambda inputs: n_windows.append(len(inputs)) or embed(inputs)
    uploads = []
    for name, seconds in (("a", 70), ("b", 5)):
        write_noise(tmp_path / f"{name}.wav", ord(name), seconds)
        content = (tmp_path / f"{name}.wav").open("rb")
        uploads.append(UploadFile(content, filename=name, size=1))
    replies = at_once(answer_all(predictor, uploads, Limits(), render, adapt=True))
    assert max(n_windows) <= 16 and 25 < sum(n_windows) < 35  # each once
    assert all(reply.rows[0]["emotion"] and "<img" in reply.html for reply in replies)
    assert all(upload.file.closed for upload in uploads)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", r"$\foo$", r"$\hspace{10000000}a$", "\u202egpm.exe", "{{ 7 }}"]
)
def test_text_from_checkpoints_and_clients_is_only_shown(name):
    use_style()
    row = {"url": name, "emotion": name, "confidence": 1.0, name: 1.0, "x": 0.0, "error": ""}
    stretch = {"start": 0.0, "end": 1.0, "emotion": name, "confidence": 1.0, name: 1.0, "x": 0.0}
    outline = Outline()
    outline.begin()
    outline.add(np.zeros(16_000), 16_000)
    outline.merge()
    shown = name.replace("<", "&lt;").replace(">", "&gt;")
    for emotions in ((name,), (name, "x")):
        html = render(Reply([row], [stretch | {"emotion": emotion} for emotion in emotions]), outline)
        assert f"<bdi>{shown}</bdi>" in html and "<script" not in html
    html = render(Reply([row | {"emotion": "", "error": name}]), Outline())
    assert f"<bdi>{shown}</bdi>: {shown}" in html and "<script" not in html
    predictor = SimpleNamespace(network=SimpleNamespace(takes_statistics=True), labels=[name, "x"])
    assert fill_page(Service({name: predictor}, Limits())).count(shown) == 5
