"""The packages that requirements.txt lacks: what to install for what was asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_FILES = {
    "praatio": "requirements-timeline.txt",
    "pysubs2": "requirements-timeline.txt",
    "pyarrow": "requirements-ray.txt",
    "ray": "requirements-ray.txt",
    "sounddevice": "requirements-live.txt",
}


def check_installed(needs: dict[str, str]) -> None:
    """`needs` are packages by what asks for them. Raises ImportError with all of those that are missing."""
    if missing := {asking: package for asking, package in needs.items() if find_spec(package) is None}:
        raise ImportError(_sentence(missing))


@contextmanager
def needed_by(asking: str, package: str) -> Iterator[None]:
    """Within it, an ImportError says what to install."""
    try:
        yield
    except ImportError as error:
        raise ImportError(_sentence({asking: package})) from error


def _sentence(missing: dict[str, str]) -> str:
    packages = ", ".join(f"{asking} needs {package}" for asking, package in missing.items())
    files = dict.fromkeys(_FILES[package] for package in missing.values())
    return f"{packages}: pip install {' '.join(f'-r {file}' for file in files)}"
