"""eval.py as its users run it: a real process on real files."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import REPOSITORY

from speech_emotion.checkpoint import Checkpoint, save_checkpoint
from speech_emotion.features import FeatureSettings
from speech_emotion.inference import Predictor
from speech_emotion.model import EmotionCNN, ModelSettings
from speech_emotion.ravdess import EMOTIONS


def run(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "eval.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A checkpoint that has learned nothing, for the tests that do not ask what it says."""
    torch.manual_seed(0)
    features = FeatureSettings()
    network = EmotionCNN(ModelSettings.for_features(features, n_classes=8)).eval()
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_checkpoint(path, Checkpoint(network, list(EMOTIONS), features))
    return path


def test_the_bundled_recordings_all_get_an_emotion(tmp_path):
    shutil.copytree(REPOSITORY / "eval_data", tmp_path / "eval_data")
    result = run(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table = rows(tmp_path / "out.csv")
    assert list(table[0]) == ["url", "emotion", "confidence", *EMOTIONS, "error"]
    recordings = {
        path.name for path in (REPOSITORY / "eval_data").iterdir() if path.suffix in (".wav", ".flac", ".mp3", ".ogg")
    }
    assert len(recordings) >= 6 and {Path(row["url"]).name for row in table} == recordings
    for row in table:
        probabilities = {emotion: float(row[emotion]) for emotion in EMOTIONS}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert row["emotion"] == max(probabilities, key=probabilities.get)
        assert float(row["confidence"]) == max(probabilities.values())
        assert row["error"] == ""
    assert f"{len(table)} recordings, 0 without an emotion" in result.stdout


def test_a_broken_file_costs_its_own_row_only(tmp_path, model):
    folder = tmp_path / "recordings" / "deep"
    folder.mkdir(parents=True)
    soundfile.write(folder / "good.wav", np.random.default_rng(0).normal(scale=0.1, size=16_000), 16_000)
    (folder / "broken.wav").write_text("this is not audio")
    (folder / "notes.txt").write_text("left alone")
    (folder / ".hidden.wav").write_text("left alone")
    result = run("recordings", "--model", model, "--out", "table.csv", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    broken, good = rows(tmp_path / "table.csv")
    assert broken["url"].endswith("broken.wav") and broken["emotion"] == "" and "cannot read" in broken["error"]
    assert good["url"] == "recordings/deep/good.wav" and good["emotion"] in EMOTIONS and not good["error"]


def test_ravdess_names_bring_the_truth_into_the_summary(tone_data, tmp_path, model):
    result = run(tone_data / "speech_actors" / "Actor_01", "--model", model, "--batch-size", 7, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table = rows(tmp_path / "out.csv")
    truth = [EMOTIONS[int(Path(row["url"]).stem.split("-")[2]) - 1] for row in table]
    right = np.mean([emotion == row["emotion"] for emotion, row in zip(truth, table, strict=True)])
    assert f"60 recordings have RAVDESS names: accuracy {right:.4f}" in result.stdout
    assert "macro avg" in result.stdout and "confusion matrix" in result.stdout


def test_the_batch_size_changes_nothing(tone_data, model):
    paths = sorted(tone_data.glob("song_actors/Actor_01/*.flac"))[:9]
    predictor = Predictor(model, "cpu")
    expected = list(predictor.predict(paths, batch_size=64))
    for batch_size in (1, 4):
        for one, other in zip(predictor.predict(paths, batch_size), expected, strict=True):
            assert one.path == other.path
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no file or folder nowhere"),
        (["empty"], "there is no audio file in empty"),
        (["a.wav", "--model", "nowhere.pt"], "there is no model file nowhere.pt"),
        (["a.wav", "--model", "a.wav"], "a.wav is not a readable model file"),
        (["a.wav", "--out", "nowhere/out.csv"], "nowhere/out.csv"),
        (["a.wav", "--batch-size", "0"], "'0' is not a positive whole number"),
        (["a.wav", "--device", "abacus"], "invalid choice"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(tmp_path, model, arguments, message):
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16_000)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out.csv").exists()


def test_help_does_not_wait_for_torch(tmp_path):
    code = (
        "import sys, runpy\nsys.argv = ['eval.py', '--help']\ntry: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    code += "except SystemExit: pass\nprint(sorted({'torch', 'librosa', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")


def test_classifying_does_not_import_what_it_does_not_use(tmp_path, model):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16_000)
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import eval\n"
    code += f"eval.main(['a.wav', '--model', {str(model)!r}])\n"
    code += "print(sorted({'librosa', 'matplotlib', 'seaborn', 'sklearn', 'pandas'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")
