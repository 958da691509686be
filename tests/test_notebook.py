"""The notebooks run from top to bottom on a small data set, and what is committed comes from a clean full run."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from speech_emotion.models.checkpoint import load_checkpoint

NOTEBOOKS = [REPOSITORY / "audioClassification.ipynb"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_quick_mode(notebook, tone_data, tmp_path):
    shutil.copy(notebook, tmp_path)
    (tmp_path / "data").symlink_to(tone_data)
    is_first = notebook == NOTEBOOKS[0]
    if not is_first:
        for needed in ("results", "model_any_voice.pt"):
            (tmp_path / needed).symlink_to(REPOSITORY / needed)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=300", "-p", "no:cacheprovider", notebook.name],
        cwd=tmp_path,
        env={**os.environ, "QUICK": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    if not is_first:
        return
    assert len(load_checkpoint(tmp_path / "random8-split0-partial-epochs2.pt").labels) == 8
    assert len(load_checkpoint(tmp_path / "random7-split0-partial-epochs2.pt").labels) == 7


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_committed_outputs_come_from_one_clean_run_without_any_sound(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    text = notebook.read_text()
    assert "data:audio" not in text and str(REPOSITORY) not in text
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
