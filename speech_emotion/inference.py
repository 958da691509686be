"""Recordings → emotions with probabilities, through the path that training took."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from speech_emotion.audio import AudioError, load_audio, to_mono
from speech_emotion.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.features import MFCC, recording_window

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".w64"}


@dataclass(frozen=True)
class Prediction:
    """What the model says of one recording; `error` is set when it could not be classified."""

    path: str
    emotion: str = ""
    probabilities: dict[str, float] | None = None
    error: str = ""

    @property
    def confidence(self) -> float | None:
        return None if self.probabilities is None else self.probabilities[self.emotion]


def find_recordings(paths: Iterable[str | Path]) -> list[str]:
    """The recordings that `paths` mean: a file stands for itself, a folder for the audio files below it.

    Sorted within each folder; hidden files are left out. Raises FileNotFoundError when a path does not exist or
    when there is nothing to classify.
    """
    recordings = []
    for path in paths:
        if Path(path).is_dir():
            for folder, subfolders, files in os.walk(path, followlinks=True):
                subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
                recordings += [
                    os.path.join(folder, name)
                    for name in sorted(files)
                    if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith(".")
                ]
        elif Path(path).exists():
            recordings.append(str(path))
        else:
            raise FileNotFoundError(f"there is no file or folder {path}")
    if not recordings:
        raise FileNotFoundError(f"there is no audio file in {', '.join(map(str, paths))}")
    return recordings


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA, else Apple silicon, else the CPU. Raises ValueError when `name` is not available here."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, here in available.items() if here)
    if not available[name]:
        raise ValueError(f"this machine has no {name} device; --device cpu always works")
    return torch.device(name)


class Predictor:
    """A checkpoint ready to classify.

    >>> for prediction in Predictor("model.pt").predict(["hello.wav"]):
    ...     print(prediction.emotion, prediction.confidence)
    """

    def __init__(self, model: str | Path | Checkpoint, device: str = "auto"):
        """Raises CheckpointError for an unreadable model, ValueError for a device that is not here."""
        self.device = choose_device(device)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.labels = checkpoint.labels
        self.features = checkpoint.features
        self.temperature = checkpoint.temperature
        self.mfcc = MFCC(checkpoint.features).to(self.device)
        self.model = checkpoint.model.to(self.device)

    def predict(self, paths: Iterable[str | Path], batch_size: int = 64) -> Iterator[Prediction]:
        """One Prediction per path, in order; a file that cannot be read yields one with its error."""
        paths = iter(paths)
        with ThreadPoolExecutor() as readers:
            while batch := list(islice(paths, batch_size)):
                windows = list(readers.map(self._read, batch))
                readable = [window for window in windows if isinstance(window, torch.Tensor)]
                probabilities = iter(self.probabilities(torch.stack(readable)).tolist() if readable else ())
                for path, window in zip(batch, windows, strict=True):
                    if isinstance(window, AudioError):
                        yield Prediction(str(path), error=str(window))
                    else:
                        yield self._prediction(path, next(probabilities))

    def predict_waveform(self, samples: np.ndarray, sample_rate: int) -> Prediction:
        """One recording that is already in memory: (samples,) or (samples, channels), float, full scale at 1."""
        waveform = to_mono(samples, sample_rate, self.features.sample_rate)
        window = recording_window(waveform, self.features)
        return self._prediction("", self.probabilities(window[None])[0].tolist())

    @torch.inference_mode()
    def probabilities(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, window_samples) → (B, classes)."""
        logits = self.model(self.mfcc(windows.to(self.device)))
        return (logits / self.temperature).softmax(dim=1).cpu()

    def _prediction(self, path: str | Path, probabilities: list[float]) -> Prediction:
        by_label = dict(zip(self.labels, probabilities, strict=True))
        return Prediction(str(path), max(by_label, key=by_label.get), by_label)

    def _read(self, path: str | Path) -> torch.Tensor | AudioError:
        try:
            return recording_window(load_audio(path, self.features.sample_rate), self.features)
        except AudioError as error:
            return error
