"""Packages that only some features need: an error that says how to install them."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """Context in which an ImportError says what to install, for `asking`: an extra in a clone, packages elsewhere."""
    try:
        yield
    except ImportError as error:
        extra, names = EXTRAS[package], [package]
        if (Path(__file__).parents[1] / "pyproject.toml").exists():
            remedy = f"pip install '.[{extra}]' in the folder of eval.py"
        else:
            with suppress(PackageNotFoundError):
                of_extra = [name for name in requires("speech-emotion") if f'extra == "{extra}"' in name]
                names = [name.partition(";")[0].strip() for name in of_extra]
            remedy = f"pip install {shlex.join(names)}"
        raise ImportError(f"{asking} needs {package}: {remedy}") from error
