"""Packages that only some features need: an error that says how to install them."""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "fastapi": "app",
    "onnx": "onnx",
    "praatio": "timeline",
    "pyarrow": "ray",
    "pysubs2": "timeline",
    "ray": "ray",
}


@contextmanager
def needed_by(asking: str, package: str | None) -> Iterator[None]:
    """Context in which an ImportError says what to install, for `asking`."""
    try:
        yield
    except ImportError as error:
        remedy = f"pip install '.[{EXTRAS[package]}]' in the folder of eval.py"
        raise ImportError(f"{asking} needs {package}: {remedy}") from error
