"""Save and load a trained model: one file of tensors, strings, numbers and lists, without any code."""

import hashlib
import platform
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from math import prod
from pathlib import Path

import torch

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.models.network import NETWORKS, Network
from speech_emotion.terminal import printable

FORMAT_VERSION = 2

# Other columns of tables that have a column per label.
_COLUMNS = {"url", "channel", "clip", "speaker", "start", "end", "emotion", "prediction", "confidence", "error"}

_LONGEST_LABEL = 100  # characters
_LONGEST_VERSION = 50
_LARGEST_FILE = 2**30  # bytes

# Limits for settings, so that a hostile checkpoint cannot exhaust memory or time.
_MOST_VALUES = 2**23  # in any intermediate result for one window: 32 MB
_LARGEST = {
    "sample_rate": 384_000, "window_start_s": 60, "window_s": 60, "n_fft": 2**16, "hop_length": 2**20,
    "n_mels": 2**10, "n_mfcc": 2**10, "f_min": 192_000, "f_max": 192_000, "top_db": 1000,
    "n_classes": 2**16, "n_frames": 2**13, "n_cepstrum": 2**10, "channels": 2**12, "n_embedding": 2**14,
    "n_blocks": 2**6, "width": 2**12, "hidden": 2**20, "input_dropout": 1, "dropout": 1, "shrinkage": 1e6,
}  # fmt: skip
_MAY_BE_ZERO = {"window_start_s", "f_min", "hidden", "input_dropout", "dropout", "shrinkage"}
_MOST_LAYERS = 16  # most entries of `channels`
_MOST_PLAIN = 2**22  # plain values, enough for the held-out clips of a large corpus
_MOST_CHARACTERS = 2**28  # in all plain values together


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


def check_settings(features: object, model: object) -> None:
    """Raises ValueError for settings that are not numbers, or larger than any network needs."""
    if not (type(features) is type(model) is dict and len(features) + len(model) <= len(_LARGEST)):
        raise ValueError("settings are numbers by name")
    for name, value in (features | model).items():
        numbers = value if name == "channels" and type(value) in (list, tuple) else [value]
        if not (0 < len(numbers) <= _MOST_LAYERS and all(_is_number(each, name) for each in numbers)):
            raise ValueError("a setting is a number, and no larger than is of use")
    samples = features["sample_rate"] * features["window_s"]
    frames, bins = 1 + samples // features["hop_length"], 1 + features["n_fft"] // 2
    activations = max(4 * model.get("width", 0), features["n_mels"] * max(model.get("channels", [0])))
    sizes = ((samples,), (frames, bins), (bins, features["n_mels"]), (frames, activations))
    if frames > _LARGEST["n_frames"] or any(prod(size) > _MOST_VALUES for size in sizes):
        raise ValueError("such windows would take all memory")


def _is_number(value: object, name: str) -> bool:
    least = 0 if name in _MAY_BE_ZERO else 1e-3
    return type(value) in (int, float) and least <= value <= _LARGEST[name]


def check_plain(value: object) -> None:
    """Raises ValueError unless it is a dict of plain values, and not too many.

    A list that holds another twice, which holds a third twice and so on, is small in memory but endless to print.
    """
    if type(value) is not dict:
        raise ValueError("it is a dict")
    left, n_values, n_characters = [value], 0, 0
    while left:
        value = left.pop()
        n_values += 1
        if type(value) is dict:
            left += [*value, *value.values()]
        elif type(value) in (list, tuple):
            left += value
        elif type(value) is str:
            n_characters += len(value)
        elif not (value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 2**63)):
            raise ValueError("a plain value is a number, text, true, false, nothing, or a list or dict of such")
        if n_values + len(left) > _MOST_PLAIN or n_characters > _MOST_CHARACTERS:
            raise ValueError("there are too many plain values")
