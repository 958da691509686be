"""Packages that only some features need: an error that says how to install them."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

EXTRAS = {
    "fastapi": "app",
    "onnx": "onnx",
    "praatio": "timeline",
    "pyarrow": "ray",
    "pysubs2": "timeline",
    "ray": "ray",
}


@contextmanager
def needed_by(asking: str, package: str) -> Iterator[None]:
    """Context in which an ImportError says what to install, for `asking`."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{asking} needs {package}: {_remedy(package)}") from error


def _remedy(package: str) -> str:
    """How to install the extra that a package belongs to, in a clone of the repository and elsewhere."""
    extra = EXTRAS[package]
    if (Path(__file__).parents[1] / "pyproject.toml").exists():
        return f"pip install '.[{extra}]' in the folder of eval.py"
    try:
        names = [name.partition(";")[0].strip() for name in requires("speech-emotion") if f'extra == "{extra}"' in name]
    except PackageNotFoundError:
        names = [package]
    return f"pip install {shlex.join(names)}"
