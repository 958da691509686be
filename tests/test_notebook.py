"""The notebooks run from top to bottom on a small data set, and what is committed comes from a clean full run."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from speech_emotion.models.checkpoint import load_checkpoint

NOTEBOOKS = {  # and what they need beside the package
    "audioClassification.ipynb": [],
    "unseenVoices.ipynb": ["results", "model_any_voice.pt"],
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_quick_mode(tone_data, tmp_path, name):
    shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "data").symlink_to(tone_data)
    for needed in NOTEBOOKS[name]:
        (tmp_path / needed).symlink_to(REPOSITORY / needed)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=300", "-p", "no:cacheprovider", name],
        cwd=tmp_path,
        env={**os.environ, "QUICK": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    if name == "audioClassification.ipynb":
        assert len(load_checkpoint(tmp_path / "random8-split0-partial-epochs2.pt").labels) == 8
        assert len(load_checkpoint(tmp_path / "random7-split0-partial-epochs2.pt").labels) == 7


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_committed_outputs_come_from_one_clean_run_without_any_sound(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "data:audio" not in text and str(REPOSITORY) not in text
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
