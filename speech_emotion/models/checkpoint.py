"""Save and load a trained model: one file of tensors, strings, numbers and lists, without any code."""

import hashlib
import platform
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.models.limits import check_plain, check_settings
from speech_emotion.models.network import NETWORKS, Network
from speech_emotion.terminal import printable

FORMAT_VERSION = 2

# Other columns of tables that have a column per label.
_COLUMNS = {"url", "channel", "clip", "speaker", "start", "end", "emotion", "prediction", "confidence", "error"}

_LONGEST_LABEL = 100  # characters
_LONGEST_VERSION = 50
_LARGEST_FILE = 2**30  # bytes


class CheckpointError(ValueError):
    """Not a checkpoint of this project; the message is one sentence."""


@dataclass
class Checkpoint:
    """Everything needed to classify a recording, and the provenance of the model."""

    network: Network
    labels: list[str]  # in the order of the logits
    temperature: float = 1.0  # logits are divided by it before the softmax
    training: dict = field(default_factory=dict)  # settings of the run, in plain values
    split: dict = field(default_factory=dict)  # the name of the run, and its held-out clips by file stem
    metrics: dict = field(default_factory=dict)  # on the held-out clips
    versions: dict = field(default_factory=lambda: {"python": platform.python_version()} | library_versions())
    digest: str = ""  # SHA-256 of the file it was loaded from

    @property
    def features(self) -> WindowSettings:
        return self.network.features


def library_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers depend on."""
    return {name: version(name) for name in ("torch", "torchaudio", "numpy", "soundfile")}


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically."""
    content = {
        "format": checkpoint.network.kind,
        "format_version": FORMAT_VERSION,
        "labels": list(checkpoint.labels),
        "features": asdict(checkpoint.features),
        "model": asdict(checkpoint.network.settings),
        "state_dict": {name: tensor.cpu() for name, tensor in checkpoint.network.state_dict().items()},
        "temperature": checkpoint.temperature,
        "training": checkpoint.training,
        "split": checkpoint.split,
        "metrics": checkpoint.metrics,
        "versions": checkpoint.versions,
    }
    part = Path(f"{path}.part")
    torch.save(content, part)
    part.replace(path)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint on the CPU, its network in evaluation mode.

    Raises CheckpointError when the file is missing, damaged, foreign, of another format version, or holds pickled
    code, which is never run (`weights_only=True`).
    """
    path, name = Path(path), printable(path)
    if not path.is_file():
        raise CheckpointError(f"there is no model file {name}; python3 train.py makes one")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("no model here is that large")
        with zipfile.ZipFile(path) as archive:  # torch does not compress, so larger content is a zip bomb
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("more content than file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about foreign pickles
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can raise any exception in torch
        raise CheckpointError(f"{name} is not a readable model file: damaged, foreign, or with code in it") from error
    if type(content) is not dict or _network_of(content.get("format")) is None:
        raise CheckpointError(f"{name} is a PyTorch file, but not a model of this project")
    number = content.get("format_version")
    if type(number) is not int or number != FORMAT_VERSION:
        is_short = type(number) in (int, str) and len(repr(number)) < _LONGEST_VERSION  # torch reads no longer numbers
        has = f"format version {printable(number)}" if is_short else "no known format version"
        raise CheckpointError(
            f"{name} has {has}, this program reads {FORMAT_VERSION}; train the model again with python3 train.py"
        )
    try:
        return replace(_checkpoint(content, path.stat().st_size), digest=_digest(path))
    except Exception as error:  # wrong settings can raise any exception in torch
        raise CheckpointError(f"{name} is incomplete or altered: its parts do not fit together") from error


def _network_of(kind: object) -> type[Network] | None:
    return next((network for network in NETWORKS.values() if network.kind == kind), None)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def check_labels(labels: Iterable[str]) -> None:
    """Raises ValueError for labels that are not safe in tables, terminals and web pages."""
    if wrong := [label for label in labels if not _is_label(label)]:
        raise ValueError(
            f"{', '.join(map(ascii, wrong))} cannot be a label: those are printable, of at most {_LONGEST_LABEL} "
            f"characters, do not begin with =, +, - or @, and are none of {', '.join(sorted(_COLUMNS))}"
        )


def _is_label(label: str) -> bool:
    """Whether it is printable, short, not another column's name, and not a formula."""
    return (
        len(label) <= _LONGEST_LABEL
        and label.isprintable()
        and label == label.strip() != ""
        and label[0] not in "=+-@"
        and label.lower() not in _COLUMNS
    )


def _checkpoint(content: dict, n_bytes: int) -> Checkpoint:
    """Build a Checkpoint; every field's type and size are checked before it is used."""
    labels, temperature = content["labels"], content["temperature"]
    if type(labels) is not list or not all(type(label) is str for label in labels):
        raise ValueError("labels are a list of text")
    check_labels(labels)
    if type(temperature) not in (int, float) or not 1e-3 < temperature < 1e3 or len(set(labels)) < len(labels):
        raise ValueError("a temperature is about 1, a label is there once")
    check_settings(content["features"], content["model"])
    about = {name: content[name] for name in ("training", "split", "metrics", "versions")}
    for each in about.values():
        check_plain(each)
    build, settings = _network_of(content["format"]).from_settings, (content["model"], content["features"])
    with torch.device("meta"):  # allocates nothing: the sizes may be false
        blank = build(*settings).state_dict()
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in blank.items()}
    weights = content["state_dict"]
    # A single stored value may be expanded to a tensor, and several tensors may share a storage.
    is_spread = any(tensor.untyped_storage().nbytes() < tensor.nbytes for tensor in weights.values())
    if is_spread or sum(tensor.nbytes for tensor in weights.values()) > n_bytes:
        raise ValueError("every weight is in the file")
    if {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()} != expected:
        raise ValueError("every weight has its shape and type")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError("weights are finite")
    network = build(*settings).eval()
    network.load_state_dict(weights)
    with torch.inference_mode():  # finds whatever else is wrong with the settings
        logits = network(network.front_end(torch.zeros(1, network.features.window_samples)))
    if logits.shape != (1, len(labels)) or not logits.isfinite().all():
        raise ValueError("one finite logit per label")
    return Checkpoint(network=network, labels=labels, temperature=temperature, **about)
