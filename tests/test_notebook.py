"""The notebook runs from top to bottom on a small data set, and what is committed comes from a clean full run."""

import json
import os
import shutil
import subprocess
import sys

from conftest import REPOSITORY

from speech_emotion.models.checkpoint import load_checkpoint

NOTEBOOK = REPOSITORY / "audioClassification.ipynb"


def test_the_notebook_runs_in_quick_mode(tone_data, tmp_path):
    shutil.copy(NOTEBOOK, tmp_path)
    (tmp_path / "data").symlink_to(tone_data)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=300", "-p", "no:cacheprovider", NOTEBOOK.name],
        cwd=tmp_path,
        env={**os.environ, "QUICK": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert len(load_checkpoint(tmp_path / "random8-split0-partial-epochs2.pt").labels) == 8
    assert len(load_checkpoint(tmp_path / "random7-split0-partial-epochs2.pt").labels) == 7


def test_the_committed_outputs_come_from_one_clean_run_without_any_sound():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    text = NOTEBOOK.read_text()
    assert "data:audio" not in text and str(REPOSITORY) not in text
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
