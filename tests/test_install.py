"""`pip install .` as users run it, without access to a checkout."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import Distribution, packages_distributions
from itertools import product
from pathlib import Path
from shutil import which

import pytest
from conftest import REPOSITORY, read_rows
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from speech_emotion import __main__
from speech_emotion.commands import serve


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


def test_the_command_works_far_from_the_checkout_and_its_hints_need_no_file_of_it(installed, tmp_path):
    (tmp_path / "praatio.py").write_text("raise ImportError")
    shutil.copy(REPOSITORY / "eval_data" / "even_male.flac", tmp_path / "a.flac")
    (command,) = installed.glob("[bS]*/speech-emotion*")  # bin/, or Scripts/ with .exe
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(site_packages(installed))])}
    run = partial(subprocess.run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    result = run([command, "--model", "any-voice", "a.flac"])
    assert result.returncode == 0, result.stderr
    assert [row["error"] for row in read_rows(tmp_path / "out.csv")] == [""]
    packages = [path.name for path in site_packages(installed).iterdir() if "dist-info" not in path.name]
    assert packages == ["speech_emotion"]
    said, packages = run([command, "a.flac", "--timeline", "t.TextGrid"]).stderr.split(" pip install ")
    assert said == "speech-emotion: a .textgrid file needs praatio:"
    assert {Requirement(package).name for package in shlex.split(packages)} == {"praatio", "pysubs2"}
    assert run([command, "--version"]).stdout == f"speech-emotion {distribution(installed).version}\n"
    said = run([sys.executable, "-m", "speech_emotion", "train", "--help"]).stdout
    assert "\npython3 -m speech_emotion train --drop sad " in said and "train.py" not in said


def test_the_ranges_of_the_package_hold_the_pins_of_the_repository_but_not_what_only_notebooks_need(installed):
    ranges = [Requirement(line) for line in distribution(installed).requires]
    files = [REPOSITORY / f"requirements{extra}.txt" for extra in ("", "-app", "-onnx", "-ray", "-timeline")]
    lines = [line.split(" #")[0] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    pins = [Requirement(line) for line in lines if line[:1].isalnum()]
    assert {pin.name for pin in pins} - {part.name for part in ranges} == {"jupyter", "librosa", "seaborn"}
    for pin in pins:
        (version,) = (clause.version for clause in pin.specifier)
        assert all(version in part.specifier for part in ranges if part.name == pin.name), pin


def test_the_package_imports_nothing_that_it_does_not_require(installed):
    required = {canonicalize_name(Requirement(line).name) for line in distribution(installed).requires}
    names = packages_distributions()
    for file in (REPOSITORY / "speech_emotion").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in {module.partition(".")[0] for module in modules} - {*sys.stdlib_module_names}:
                found = {*map(canonicalize_name, names.get(module, [module]))}
                assert module == "speech_emotion" or found & required, (file, module)


CONTAINER = (REPOSITORY / "Containerfile").read_text(encoding="utf-8")


def test_the_container_does_not_serve_without_a_token(monkeypatch, capsys):
    command = json.loads(re.search(r"^CMD (.*)$", CONTAINER, re.MULTILINE)[1])
    (token,) = re.findall(r'SPEECH_EMOTION_TOKEN="(.*?)"', CONTAINER)
    assert command[0] == "speech-emotion"
    monkeypatch.setenv("SPEECH_EMOTION_TOKEN", token)
    with pytest.raises(SystemExit):
        __main__.main(command[1:])
    assert "the token (or $SPEECH_EMOTION_TOKEN) is empty" in capsys.readouterr().err
    monkeypatch.setenv("SPEECH_EMOTION_TOKEN", "secret")
    options = serve.parse_arguments(command[2:])
    assert (options.host, options.token) == ("0.0.0.0", "secret")


@pytest.mark.slow
def test_the_container_is_built():
    tools = [tool for tool in ("podman", "docker") if which(tool)]
    works = [tool for tool in tools if not subprocess.run([tool, "info"], capture_output=True, check=False).returncode]
    if not works:
        pytest.skip("no program here builds containers")
    build = [works[0], "build", "--quiet", "--file", "Containerfile", "."]
    image = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
    run = [works[0], "run", "--rm", image, "speech-emotion", "--version"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.startswith("speech-emotion ")


def site_packages(installed: Path) -> Path:
    return next(installed.glob("**/site-packages"))


def distribution(installed: Path) -> Distribution:
    (info,) = site_packages(installed).glob("*.dist-info")
    return Distribution.at(info)


PYTHONS = ("3.10", "3.14")  # the oldest and the newest
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-pc-windows-msvc", "aarch64-apple-darwin")


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        ["requirements-dev.txt"],  # which has all the others in it
        ["pyproject.toml", "--all-extras", "--resolution", "lowest-direct"],
        ["pyproject.toml", "--all-extras", "--resolution", "highest"],
    ],
)
def test_every_requirement_has_a_wheel_for_every_python_and_machine(tmp_path, what):
    """By what the package index says of them now."""
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # torch has wheels from there on
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--only-binary", ":all:", "--no-header",
               "--cache-dir", tmp_path.parent / "uv", *what]  # fmt: skip
    run = partial(subprocess.run, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)

    def resolve(cell: tuple[str, str]) -> subprocess.CompletedProcess:
        python, platform = cell
        options = ["--python-version", python, "--python-platform", platform]
        return run([*command, *options])

    with ThreadPoolExecutor() as pool:  # they wait for the index
        for cell, result in zip(
            product(PYTHONS, PLATFORMS), pool.map(resolve, product(PYTHONS, PLATFORMS)), strict=True
        ):
            if result.returncode and re.search("fetch|connect|network|dns", result.stderr, re.IGNORECASE):
                pytest.skip(f"the package index cannot be reached: {result.stderr.splitlines()[-1]}")
            assert result.returncode == 0, (cell, result.stderr)
            lines = [line.split(" #")[0] for line in result.stdout.splitlines() if line[:1].isalnum()]
            resolved = {Requirement(line).name for line in lines}
            assert {"torch", "fastapi", "ray", "silero-vad", "onnxruntime", "filelock", "praatio"} <= resolved
