"""What the targets of the Makefile run, with programs that only say how they were called."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY

from speech_emotion.commands import train
from speech_emotion.corpora.foreign import ForeignCorpus
from speech_emotion.training import any_voice

STUB = """#!/bin/sh
echo "$QUICK" "${0##*/}" "$@"
"""


@pytest.fixture
def make(tmp_path):
    """Runs a target and returns the calls of Python and Jupyter, each as a list of words."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "jupyter"):
        (tmp_path / "bin" / name).write_text(STUB)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("installed", "installed-app", "installed-dev"):
        (tmp_path / name).touch()

    def run(*arguments: str) -> list[list[str]]:
        command = ["make", "--silent", "--no-print-directory", f"VENV={tmp_path}", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "QUICK"}
        said = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, env=environment)
        return [line.split() for line in said.stdout.splitlines()]

    return run


def test_crossval_computes_every_committed_prediction(make, monkeypatch):
    monkeypatch.setattr(ForeignCorpus, "clip_table", lambda corpus, folder: pd.DataFrame())  # which need not be here
    monkeypatch.setattr(any_voice, "encoder_of", lambda file: None)  # which takes a second each time
    calls = make("crossval")
    assert ["python", "-m", "research.checkpoints", "emodb"] in calls
    names = {"random8-emodb", "any8-emodb", "any8-emodb-adapted"}
    for arguments in (call[2:] for call in calls if call[:2] == ["python", "train.py"]):
        run = train.run_of(train.parse_arguments(arguments))
        names.add(run.name)
        if run.recipe.network.takes_statistics and run.fold is not None:
            names.add(f"{run.name}-adapted")
    names.remove("random7-split0-cosine_warm_restarts")  # of which the learning curve is kept
    published = {path.stem for path in Path(REPOSITORY, "results/predictions").glob("*.csv")}
    assert names == {name for name in published if "urdu" not in name}
