"""Arrays computed from a table of clips and cached on disk, such as log-mel spectrograms."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import HighPassSettings, load_audio
from speech_emotion.audio.windows import recording_window
from speech_emotion.outputs import replaced

VERSION = 2  # of the code behind the cached arrays; with another one, they are computed again


def log_mels(clips: pd.DataFrame, front_end: nn.Module, margin_s: float, folder: str | Path) -> torch.Tensor:
    """(N, M, T) float16 in dB: one spectrogram per row of `clips`, `margin_s` wider than the window on both sides.

    Raises ValueError for a clip that cannot be read.
    """
    features = front_end.features
    files = [(clip, os.stat(path).st_size, os.stat(path).st_mtime_ns) for clip, path in clips[["clip", "path"]].values]
    settings = [VERSION, type(front_end).__name__, asdict(features), asdict(HighPassSettings()), margin_s]
    digest = hashlib.sha256(json.dumps([settings, files]).encode()).hexdigest()[:16]

    @torch.inference_mode()
    def spectrogram(path: str) -> np.ndarray:
        try:
            waveform = load_audio(path, features.sample_rate)
        except AudioError as error:
            raise ValueError(f"{path}: {error}") from error
        return front_end.log_mel(recording_window(waveform, features, margin_s)[None]).half().numpy()

    def compute() -> np.ndarray:
        with ThreadPoolExecutor() as readers:
            spectrograms = readers.map(spectrogram, clips["path"])
            return np.concatenate(list(tqdm(spectrograms, total=len(clips), desc="reading clips")))

    return cached(folder, f"log_mels-{digest}", compute)


def cached(folder: str | Path, name: str, compute: Callable[[], np.ndarray]) -> torch.Tensor:
    """The array in `folder`/`name`.npy, computed if it is missing or damaged.

    `name` contains a digest of everything that the array depends on, so that no stale file is read.
    """
    path = Path(folder) / f"{name}.npy"
    try:
        return torch.from_numpy(np.load(path))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, EOFError):
        print(f"{path} is damaged, and is computed again", file=sys.stderr)
    array = compute()
    with replaced(path, f".{os.getpid()}.part") as part, part.open("wb") as file:  # another run may compute the same
        np.save(file, array)
    return torch.from_numpy(array)
