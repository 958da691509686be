"""The exported file gives what the checkpoint gives, without torch, on the bundled recordings."""

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.windows import recording_window
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.onnx_export import WindowClassifier

EXPORT = [sys.executable, "-m", "speech_emotion.models.onnx_export"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    subprocess.run([*EXPORT, "model.pt", path], cwd=REPOSITORY, check=True, capture_output=True)
    return onnxruntime.InferenceSession(path)


def test_onnxruntime_agrees_with_torch_on_the_bundled_recordings(exported):
    checkpoint = load_checkpoint(REPOSITORY / "model.pt")
    paths = [path for path in (REPOSITORY / "eval_data").iterdir() if path.suffix in (".wav", ".flac", ".ogg", ".mp3")]
    windows = torch.stack([recording_window(load_audio(path, 48_000), checkpoint.features) for path in paths])
    with torch.inference_mode():
        expected = WindowClassifier(checkpoint).eval()(windows).numpy()
    (together,) = exported.run(None, {"windows": windows.numpy()})
    (alone,) = exported.run(None, {"windows": windows[:1].numpy()})
    np.testing.assert_allclose(together, expected, atol=1e-3)
    np.testing.assert_allclose(alone, expected[:1], atol=1e-3)


def test_the_metadata_say_what_goes_in_and_comes_out(exported):
    checkpoint = load_checkpoint(REPOSITORY / "model.pt")
    metadata = exported.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == checkpoint.labels
    assert json.loads(metadata["features"]) == asdict(checkpoint.features)


def test_a_missing_checkpoint_is_one_sentence(tmp_path):
    command = [*EXPORT, "nowhere.pt", tmp_path / "model.onnx"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "onnx_export: there is no model file nowhere.pt; python3 train.py makes one\n"
