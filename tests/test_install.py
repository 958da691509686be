"""`pip install .` as users run it, without access to a checkout."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from itertools import product
from pathlib import Path

import pytest
from conftest import REPOSITORY, read_rows
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The prefix that the project was installed into, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")  # building leaves folders behind
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in names.stdout.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith(("eval_data", "results", "tests")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(REPOSITORY / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--prefix", folder, source], check=True)
    return folder


def test_the_command_classifies_far_from_the_checkout(installed, tmp_path):
    shutil.copy(REPOSITORY / "eval_data" / "even_male.flac", tmp_path / "a.flac")
    (command,) = installed.glob("[bS]*/speech-emotion*")  # bin/, or Scripts/ with .exe
    environment = {**os.environ, "PYTHONPATH": str(site_packages(installed))}
    subprocess.run([command, "--model", "any-voice", "a.flac"], cwd=tmp_path, env=environment, check=True)
    assert [row["error"] for row in read_rows(tmp_path / "out.csv")] == [""]
    assert sorted(path.name for path in site_packages(installed).iterdir() if "dist-info" not in path.name) == [
        "speech_emotion"
    ]


def test_the_installation_requires_what_the_requirements_say(installed):
    (info,) = site_packages(installed).glob("*.dist-info")
    required = {str(Requirement(line)) for line in Distribution.at(info).requires}
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {str(Requirement(line.split(" #")[0].strip())) for line in lines if line and not line.startswith("#")}
    assert len(wanted) > 10 and wanted <= required


def site_packages(installed: Path) -> Path:
    return next(installed.glob("**/site-packages"))


PYTHONS = ("3.10", "3.14")  # the oldest and the newest
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
    "aarch64-apple-darwin",
)


@pytest.mark.slow
def test_every_requirement_has_a_wheel_for_every_python_and_machine(tmp_path):
    """By what the package index says of them now; requirements-dev.txt has all the others in it."""
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # torch has wheels from there on
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--only-binary", ":all:", "--no-header",
               "--cache-dir", tmp_path, REPOSITORY / "requirements-dev.txt"]  # fmt: skip

    def resolve(cell: tuple[str, str]) -> subprocess.CompletedProcess:
        python, platform = cell
        options = ["--python-version", python, "--python-platform", platform]
        return subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=600)

    with ThreadPoolExecutor() as pool:  # they wait for the index
        for cell, result in zip(
            product(PYTHONS, PLATFORMS), pool.map(resolve, product(PYTHONS, PLATFORMS)), strict=True
        ):
            if result.returncode and re.search("fetch|connect|network|dns", result.stderr, re.IGNORECASE):
                pytest.skip(f"the package index cannot be reached: {result.stderr.splitlines()[-1]}")
            assert result.returncode == 0, (cell, result.stderr)
            lines = [line.split(" #")[0] for line in result.stdout.splitlines() if line[:1].isalnum()]
            resolved = {Requirement(line).name for line in lines}
            assert {"torch", "fastapi", "ray", "silero-vad", "onnxruntime", "filelock", "praatio", "pytest"} <= resolved
