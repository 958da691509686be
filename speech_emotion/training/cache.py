"""Log-mel spectrograms of a table of clips, computed once and kept on disk."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from speech_emotion.audio import decoders, reading, resampling, windows
from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.windows import recording_window


def log_mels(clips: pd.DataFrame, front_end: nn.Module, margin_s: float, folder: str | Path) -> torch.Tensor:
    """(N, M, T) float16 in dB: one spectrogram per row of `clips`, `margin_s` wider than the window on both sides.

    The file in `folder` is named after a digest of all that the numbers depend on (the settings, the clips, their
    files' sizes and times, and the code of the front end), so that a stale one is never read; a damaged one is named
    and made anew. Raises ValueError for a clip that cannot be read.
    """
    path = Path(folder) / f"log_mels-{_digest(clips, front_end, margin_s)}.npy"
    try:
        return torch.from_numpy(np.load(path))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, EOFError):
        print(f"{path} is damaged and made anew", file=sys.stderr)
    spectrograms = _compute(clips, front_end, margin_s)
    part = path.with_name(f"{path.stem}-{os.getpid()}.part.npy")
    np.save(part, spectrograms)
    part.replace(path)
    return torch.from_numpy(spectrograms)


@torch.inference_mode()
def _compute(clips: pd.DataFrame, front_end: nn.Module, margin_s: float) -> np.ndarray:
    features = front_end.features

    def spectrogram(path: str) -> np.ndarray:
        try:
            waveform = load_audio(path, features.sample_rate)
        except AudioError as error:
            raise ValueError(f"{path}: {error}") from error
        window = recording_window(waveform, features, margin_s)
        return front_end.log_mel(window[None])[0].half().numpy()

    with ThreadPoolExecutor() as readers:
        return np.stack(list(tqdm(readers.map(spectrogram, clips["path"]), total=len(clips), desc="reading clips")))


def _digest(clips: pd.DataFrame, front_end: nn.Module, margin_s: float) -> str:
    files = [(clip, os.stat(path).st_size, os.stat(path).st_mtime_ns) for clip, path in clips[["clip", "path"]].values]
    modules = (decoders, reading, resampling, windows, sys.modules[type(front_end).__module__])
    code = [Path(module.__file__).read_text(encoding="utf-8") for module in modules]
    return hashlib.sha256(json.dumps([asdict(front_end.features), margin_s, files, code]).encode()).hexdigest()[:16]
