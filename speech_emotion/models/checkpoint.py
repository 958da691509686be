"""Save and load a trained model: one file of tensors, strings, numbers and lists, without any code."""

import hashlib
import io
import platform
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import torch

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.models.network import NETWORKS, Network
from speech_emotion.models.published import find_model
from speech_emotion.outputs import replaced

FORMAT_VERSION = 2

# Other columns of tables that have a column per label.
_COLUMNS = {
    "url", "channel", "clip", "speaker", "text", "start", "end", "emotion", "prediction", "confidence", "error",
}  # fmt: skip
_LIBRARIES = ("torch", "torchaudio", "numpy", "soundfile")  # that the numbers depend on
_LONGEST_LABEL = 100  # characters

# Limits, so that a hostile file cannot exhaust memory or time.
_LARGEST_FILE = 2**30  # bytes
_LARGEST_SETTING = 2**20
_MOST_BLOCKS = 64
_MOST_LAYERS = 16  # most entries of `channels`
_MOST_FRAMES = 2**13
_MOST_VALUES = 2**23  # in any intermediate result for one window: 32 MB
_MOST_PLAIN = 2**22  # plain values, enough for the held-out clips of a large corpus


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
    versions: dict = field(
        default_factory=lambda: {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}
    )
    digest: str = ""  # SHA-256 of the file it was loaded from

    @property
    def features(self) -> WindowSettings:
        return self.network.features


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically."""
    with replaced(path) as part:
        write_checkpoint(part, checkpoint)


def write_checkpoint(file: Path | BinaryIO, checkpoint: Checkpoint) -> None:
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
    torch.save(content, file)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or a published one by its name, on the CPU, its network in evaluation mode.

    Raises CheckpointError when the file is missing, damaged, foreign, of another format version, or holds pickled
    code, which is never run (`weights_only=True`).
    """
    try:
        path = find_model(path)
    except FileNotFoundError as error:
        raise CheckpointError(error) from error
    name = str(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("no model here is that large")
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # torch does not compress, so larger content is a zip bomb
            if sum(entry.file_size for entry in archive.infolist()) > len(data):
                raise ValueError("more content than file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about foreign pickles
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can raise any exception in torch
        raise CheckpointError(f"{name} is not a readable model file: damaged, foreign, or with code in it") from error
    kinds = {network.kind: network for network in NETWORKS.values()}
    kind = content.get("format") if type(content) is dict else None
    if type(kind) is not str or kind not in kinds:
        raise CheckpointError(f"{name} is a PyTorch file, but not a model of this project")
    number = content.get("format_version")
    if type(number) is not int or number != FORMAT_VERSION:
        has = f"format version {number}" if type(number) is int and 0 <= number < 1000 else "no known format version"
        raise CheckpointError(f"{name} has {has}, this program reads {FORMAT_VERSION}; train the model again")
    try:
        return replace(_checkpoint(kinds[kind], content, len(data)), digest=hashlib.sha256(data).hexdigest())
    except Exception as error:  # wrong settings can raise any exception in torch
        raise CheckpointError(f"{name} is incomplete or altered: its parts do not fit together") from error


def check_labels(labels: Iterable[str]) -> None:
    """Raises ValueError for labels that are not safe in tables, terminals and web pages."""
    wrong = [
        label
        for label in labels
        if not (0 < len(label) <= _LONGEST_LABEL and label.isprintable() and label == label.strip())
        or label[0] in "=+-@"
        or label.lower() in _COLUMNS
    ]
    if wrong:
        raise ValueError(
            f"{', '.join(map(ascii, wrong))} cannot be a label: those are printable, of at most {_LONGEST_LABEL} "
            f"characters, do not begin with =, +, - or @, and are none of {', '.join(sorted(_COLUMNS))}"
        )


def _checkpoint(kind: type[Network], content: dict, n_bytes: int) -> Checkpoint:
    """Build a Checkpoint; every field's type and size are checked before it is used."""
    labels, temperature, weights = content["labels"], content["temperature"], content["state_dict"]
    if type(labels) is not list or not all(type(label) is str for label in labels):
        raise ValueError("labels are a list of text")
    check_labels(labels)
    if type(temperature) not in (int, float) or not 1e-3 < temperature < 1e3 or len(set(labels)) < len(labels):
        raise ValueError("a temperature is about 1, a label is there once")
    about = {name: content[name] for name in ("training", "split", "metrics", "versions")}
    for value in about.values():
        _check_plain(value)
    _check_settings(content["features"], content["model"])
    with torch.device("meta"):  # allocates no weights: their sizes may be false
        network = kind.from_settings(content["model"], content["features"]).eval()
    # Tensors may share storage, or repeat a single stored value.
    if sum(tensor.nbytes for tensor in weights.values()) > n_bytes:
        raise ValueError("every weight is in the file")
    shapes = [{name: (x.shape, x.dtype) for name, x in state.items()} for state in (weights, network.state_dict())]
    if shapes[0] != shapes[1]:
        raise ValueError("every weight has its shape and type")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError("weights are finite")
    network.load_state_dict(weights, assign=True)
    with torch.inference_mode():  # finds whatever else is wrong with the settings
        logits = network(network.front_end(torch.zeros(1, network.features.window_samples)))
    if logits.shape != (1, len(labels)) or not logits.isfinite().all():
        raise ValueError("one finite logit per label")
    return Checkpoint(network=network, labels=labels, temperature=temperature, **about)


def _check_settings(features: dict, model: dict) -> None:
    """Raises ValueError for settings that are not numbers, or that take too much memory or time.

    The sizes of weights are not checked here, since the weights are in the file.
    """
    for value in (*features.values(), *model.values()):
        numbers = value if type(value) in (list, tuple) else [value]
        if len(numbers) > _MOST_LAYERS or not all(
            type(number) in (int, float) and 0 <= number <= _LARGEST_SETTING for number in numbers
        ):
            raise ValueError("a setting is a number, and no larger than is of use")
    samples, n_mels = features["sample_rate"] * features["window_s"], features["n_mels"]
    frames, bins = 1 + samples // features["hop_length"], 1 + features["n_fft"] // 2
    activations = max(4 * model.get("width", 0), n_mels * max(model.get("channels", [0])))
    sizes = (samples, frames * bins, bins * n_mels, n_mels * features.get("n_mfcc", 0), frames * activations)
    if max(sizes) > _MOST_VALUES or frames > _MOST_FRAMES or model.get("n_blocks", 0) > _MOST_BLOCKS:
        raise ValueError("such windows would take all memory")


def _check_plain(value: dict) -> None:
    """Raises ValueError unless it is a dict of plain values, and not too many.

    A list that holds another twice, which holds a third twice and so on, is small in memory but endless to print.
    """
    if type(value) is not dict:
        raise ValueError("it is a dict")
    parts = [value]
    for part in parts:  # which grows
        if type(part) is dict:
            parts += [*part, *part.values()]
        elif type(part) in (list, tuple):
            parts += part
        elif part is not None and type(part) not in (bool, int, float, str):
            raise ValueError("a plain value is a number, text, true, false, nothing, or a list or dict of such")
        if len(parts) > _MOST_PLAIN:
            raise ValueError("there are too many plain values")
