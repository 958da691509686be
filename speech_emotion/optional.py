"""Packages that requirements.txt does not include: errors that say how to install them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_FILES = {
    "praatio": "requirements-timeline.txt",
    "pysubs2": "requirements-timeline.txt",
    "pyarrow": "requirements-ray.txt",
    "ray": "requirements-ray.txt",
}


def check_installed(needs: dict[str, str]) -> None:
    """Raises ImportError that names all missing packages; `needs` maps what needs a package to its name."""
    if missing := {asking: package for asking, package in needs.items() if find_spec(package) is None}:
        raise ImportError(_sentence(missing))


@contextmanager
def needed_by(asking: str, package: str) -> Iterator[None]:
    """Context in which an ImportError says what to install."""
    try:
        yield
    except ImportError as error:
        raise ImportError(_sentence({asking: package})) from error


def _sentence(missing: dict[str, str]) -> str:
    packages = ", ".join(f"{asking} needs {package}" for asking, package in missing.items())
    files = dict.fromkeys(_FILES[package] for package in missing.values())
    return f"{packages}: pip install {' '.join(f'-r {file}' for file in files)}"
