"""The exported file gives what the checkpoint gives, without torch, on the bundled recordings."""

import ast
import json
from dataclasses import asdict
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY, run_python

from speech_emotion.audio.resampling import stream_audio
from speech_emotion.audio.windows import RecordingWindows
from speech_emotion.commands.export import main
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.network import calibrated


@pytest.fixture(scope="module", params=["model.pt", "model_any_voice.pt"])
def exported(tmp_path_factory, request):
    """The session and the name of the checkpoint."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert main([str(REPOSITORY / request.param), str(path)]) == 0
    return onnxruntime.InferenceSession(path), request.param


def test_onnxruntime_agrees_with_the_predictor_on_the_bundled_recordings(exported):
    session, model = exported
    predictor = Predictor(REPOSITORY / model, "cpu")
    paths = sorted(p for p in (REPOSITORY / "eval_data").iterdir() if p.suffix in (".wav", ".flac", ".ogg", ".mp3"))
    rate = predictor.features.sample_rate
    windows = [
        window.numpy()
        for path in paths
        for _, window in RecordingWindows(partial(stream_audio, path, rate), predictor.features)
    ]
    (together,) = session.run(None, {"windows": np.stack(windows)})
    (alone,) = session.run(None, {"windows": windows[0][None]})
    np.testing.assert_allclose(alone, together[:1], atol=1e-4)
    with torch.inference_mode():
        logits = predictor.network(predictor.front_end(torch.from_numpy(np.stack(windows))))
    np.testing.assert_allclose(together, calibrated(logits, predictor.temperature), atol=1e-3)


def test_the_metadata_say_what_goes_in_and_comes_out(exported):
    session, model = exported
    checkpoint = load_checkpoint(REPOSITORY / model)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == checkpoint.labels
    assert json.loads(metadata["features"]) == asdict(checkpoint.features)


@pytest.mark.parametrize("name", ["bright_french.mp3", "flat_spanish.mp3", "fast_high_female.wav"])
def test_the_documented_example_gives_the_answer_of_the_package(exported, name, tmp_path):
    session, model = exported
    lines = (REPOSITORY / "docs" / "onnx.md").read_text(encoding="utf-8").splitlines()
    code = [line[4:] for line in lines if line.startswith("    ") or not line]
    code = code[code.index("import json, numpy, onnxruntime, soundfile, soxr") :]
    (tmp_path / "model.onnx").symlink_to(session._model_path)
    (tmp_path / "hello.wav").symlink_to(REPOSITORY / "eval_data" / name)
    printed = run_python("\n".join(code), cwd=tmp_path).stdout
    (row,) = Predictor(REPOSITORY / model, "cpu").predict(REPOSITORY / "eval_data" / name)
    found = ast.literal_eval(printed)
    assert found == pytest.approx({label: row[label] for label in found}, abs=0.02)
    assert max(found, key=found.get) == row["emotion"]
