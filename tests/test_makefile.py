"""What the Makefile promises."""

import re
import subprocess
from itertools import product

import pandas as pd
from conftest import REPOSITORY

from speech_emotion.commands import train
from speech_emotion.corpora import nemo
from speech_emotion.training.runs import Run


def run_of(arguments: str) -> Run:
    """What train.py would carry out with them."""
    return train.run_of(train.parse_arguments(arguments.split()))


def commands_of(*arguments: str) -> str:
    """What make would run."""
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def test_crossval_computes_every_committed_prediction(monkeypatch):
    monkeypatch.setattr(nemo, "clip_table", lambda folder: pd.DataFrame())  # which need not be here
    recipe = commands_of("crossval")
    names = {"random8-emodb", "any8-emodb", "any8-emodb-adapted"} if "research.checkpoints emodb\n" in recipe else set()
    for line in recipe.splitlines():
        loop = re.search(r"for n in ([\d ]+);", line)
        for command, number in product(re.findall(r"train\.py([^&|;#]*)", line), loop[1].split() if loop else "0"):
            run = run_of(command.replace("$n", number))
            names.add(run.name)
            if run.recipe.network.takes_statistics and run.fold is not None:
                names.add(f"{run.name}-adapted")
    names.remove("random7-split0-cosine_warm_restarts")  # of which the learning curve is kept
    assert names == {path.stem for path in (REPOSITORY / "results/predictions").glob("*.csv")}


def test_quick_notebooks_leave_the_committed_ones_alone():
    quick, full, not_quick = (
        commands_of("notebook", "QUICK=1"),
        commands_of("notebook"),
        commands_of("notebook", "QUICK=0"),
    )
    assert re.findall(r"QUICK=1 .*--execute (.*) &&", quick) == ["--output-dir .cache/quick $name.ipynb"]
    assert re.findall(r"--inplace (.*) \|\|", quick) == ["--coalesce-streams .cache/quick/$name.ipynb"]
    assert full == not_quick and "QUICK=1" not in full
    assert re.findall(r"--inplace (.*\.ipynb)", full) == ["$name.ipynb", "--coalesce-streams $name.ipynb"]
