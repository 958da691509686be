"""The models in the repository, found by their names; a new model needs one more entry here."""

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A committed checkpoint."""

    file: str
    run: str  # the run that trains it
    title: str  # on the web page
    is_recommended: bool = False  # the web page's default


PUBLISHED = (
    Published("model.pt", "random8-split0", "RAVDESS, eight emotions"),
    Published("model_sad_removed.pt", "random7-split0", "RAVDESS, without sad"),
    Published("model_any_voice.pt", "any8-split0", "any voice (recommended)", is_recommended=True),
)


def find_model(name: str | Path) -> Path:
    """The file with this name, else the published model; any-voice is short for model_any_voice.pt.

    The published models are in the folder of eval.py, or where pip installed them. Raises FileNotFoundError with the
    names that there are.
    """
    path = Path(name)
    if path.is_file():
        return path
    published = {file.name: file for file in Path(__file__).parents[2].glob("model*.pt")}
    if not published:
        with suppress(PackageNotFoundError):
            installed = files("speech-emotion") or []
            published = {file.name: Path(file.locate()).resolve() for file in installed if file.suffix == ".pt"}
    short = path.name.removesuffix(".pt").replace("-", "_")
    for candidate in (path.name, f"{short}.pt", f"model_{short}.pt"):
        if candidate in published and path.name == str(name):
            return published[candidate]
    from difflib import get_close_matches  # rarely needed

    near = get_close_matches(path.name, published, 1)
    remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(published)) or 'none'}"
    raise FileNotFoundError(f"there is no model file {name}; {remedy}")
