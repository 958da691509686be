"""The notebooks run from top to bottom, and are committed as one clean full run."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest
from conftest import REPOSITORY

from speech_emotion.models.checkpoint import load_checkpoint

NOTEBOOKS = {  # the data that they need at least, and what else beside the package
    "audioClassification.ipynb": (["speech_actors"], []),
    "unseenVoices.ipynb": (["speech_actors", "song_actors"], ["results", "model_any_voice.pt"]),
}


def cells(name: str) -> list[dict]:
    notebook = json.loads((REPOSITORY / name).read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_quick_mode(tone_data, tmp_path, name):
    shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "data").mkdir()
    folders, others = NOTEBOOKS[name]
    for folder in folders:
        (tmp_path / "data" / folder).symlink_to(tone_data / folder)
    for other in others:
        (tmp_path / other).symlink_to(REPOSITORY / other)
    before = {*os.listdir(tmp_path)}
    command = [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=300", "-p", "no:cacheprovider", name]
    environment = {**os.environ, "QUICK": "1", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
    assert {*os.listdir(tmp_path)} - before == {".cache"}, "what is quick replaces and litters nothing"
    if name == "audioClassification.ipynb":
        quick = tmp_path / ".cache/quick"
        assert len(load_checkpoint(quick / "random8-split0-partial-epochs2.pt").labels) == 8
        assert len(load_checkpoint(quick / "random7-split0-partial-epochs2.pt").labels) == 7


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_committed_outputs_come_from_one_clean_run_without_sound_or_paths(name):
    assert [cell["execution_count"] for cell in cells(name)] == [*range(1, len(cells(name)) + 1)]
    outputs = [output for cell in cells(name) for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    names = [[output.get("name") for output in cell["outputs"]] for cell in cells(name)]
    assert not any(one and one == other for of_cell in names for one, other in pairwise(of_cell)), "not coalesced"
    for output in outputs:
        data = output.get("data", {})
        output["data"] = {kind: value for kind, value in data.items() if not kind.startswith("image/")}
    texts = json.dumps(outputs)
    assert "data:audio" not in texts and not re.search(r'["\s(](/|[A-Z]:\\)[A-Za-z]', texts)
