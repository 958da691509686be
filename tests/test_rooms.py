"""The rooms of the package stand in the order in which a recording passes through them; research is the last."""

import ast

import pytest
from conftest import REPOSITORY

ROOMS = ["audio", "corpora", "models", "inference", "evaluation", "training", "serving", "commands"]
PACKAGE = REPOSITORY / "speech_emotion"


def imported(file):
    """The parts of the package, and the other packages, that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if names == ["speech_emotion"]:
            names = [f"speech_emotion.{alias.name}" for alias in node.names]
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.removeprefix("speech_emotion.").split(".")[0] for name in names)


def test_every_folder_is_a_room():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_no_room_imports_from_one_behind_it(room):
    """What is in no room, such as terminal.py, is for all of them and imports from none."""
    behind = {"research", *(ROOMS[ROOMS.index(room) + 1 :] if room else ROOMS)}
    files = [file for file in (PACKAGE / room).glob("*.py") if file.name not in ("__init__.py", "__main__.py") or room]
    assert files
    assert {file.name: behind & {*imported(file)} for file in files if behind & {*imported(file)}} == {}
