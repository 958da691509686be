"""Shared by the command lines."""

import argparse
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NoReturn

from speech_emotion.terminal import printable


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose error messages escape control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def checkpoint(name: str) -> Path:
    """The file with this name, else the model of the project; any-voice is short for model_any_voice.pt.

    The project's models are in the folder of eval.py, or where pip installed them.
    """
    path = Path(name)
    if path.exists() or path.name != name:
        return path
    ours = {file.name: file for file in Path(__file__).parents[2].glob("model*.pt")} or _installed_models()
    short = name.removesuffix(".pt").replace("-", "_")
    for known in (name, f"{short}.pt", f"model_{short}.pt"):
        if known in ours:
            return ours[known]
    from difflib import get_close_matches  # rarely needed

    if near := get_close_matches(name, ours, 1):
        raise argparse.ArgumentTypeError(f"there is no model file {name}; did you mean {near[0]}?")
    return path


def _installed_models() -> dict[str, Path]:
    try:
        installed = files("speech-emotion") or []
    except PackageNotFoundError:
        return {}
    return {file.name: Path(file.locate()).resolve() for file in installed if file.suffix == ".pt"}
