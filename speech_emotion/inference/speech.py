"""Speech detection with Silero VAD (https://github.com/snakers4/silero-vad, MIT), from its wheel."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad
from torchaudio.functional import resample

from speech_emotion.audio.windows import Speech

RATE = 16_000
_FRAME = 512  # samples per frame of the network
_CONTEXT = 64  # samples of the previous frame, as context


class NoDetectorError(ImportError):
    """Silero VAD is not installed; the message says how to get it."""


@dataclass(frozen=True)
class SpeechSettings:
    """Chosen on sounds of games and desktops, RAVDESS's training clips of split 0 and nEMO: see docs/speech.md.

    Silero VAD is made for speech at ordinary pitch, and is seldom sure of a scream or of singing. It gives these a low
    probability for a long time, and a higher one if they are played slower; most other sounds reach that only briefly.
    """

    peak: float = 0.1  # that a window is scaled to
    n_frames: int = 7  # frames of 32 ms; a short word has as many
    clear: float = 0.93  # the probability that they must reach for clear speech,
    likely: float = 0.85  # or for faint speech
    lasting: tuple[tuple[int, float], ...] = ((15, 0.5), (46, 0.012))
    """Or for faint speech: more frames, and what they must reach on average over normal speed and `slower`."""
    slower: tuple[int, int] = (2, 3)  # as a fraction; small numbers keep the resampling kernel small


def which_speak(heard: Sequence[Speech]) -> list[bool]:
    """Which windows count. If there are several, one must be clear, because long music has many chances to pass."""
    if len(heard) > 1 and max(heard) < Speech.CLEAR:
        return [False] * len(heard)
    return [speech > Speech.NONE for speech in heard]


class SpeechDetector:
    """Detects speech in windows; raises NoDetectorError if Silero VAD is not installed.

    The network is loaded from its file, because importing the package changes the number of torch's threads.
    """

    settings = SpeechSettings()

    def __init__(self):
        if not ((package := find_spec("silero_vad")) and find_spec("onnxruntime")):
            raise NoDetectorError("speech detection needs Silero VAD: pip install silero-vad")
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it contacts a Microsoft server when imported
        import onnxruntime

        model = Path(package.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @torch.inference_mode()
    def __call__(self, window: torch.Tensor, sample_rate: int) -> Speech:
        """(samples,) at `sample_rate` Hz → how much speech is in it."""
        window = resample(window, sample_rate, RATE)
        if not len(sounding := window.nonzero()):
            return Speech.NONE
        window = window[: int(sounding[-1]) + 1]  # what follows is padding
        window = self.settings.peak * window / window.abs().max()
        probabilities = self._probabilities(window)
        highest = _highest(probabilities, self.settings.n_frames)
        if highest >= self.settings.likely:
            return Speech.CLEAR if highest >= self.settings.clear else Speech.FAINT
        p, q = self.settings.slower
        slower = self._probabilities(resample(window, p, q))
        is_faint = any(
            _highest(probabilities, n) + _highest(slower, n * q // p) >= 2 * least for n, least in self.settings.lasting
        )
        return Speech.FAINT if is_faint else Speech.NONE

    def _probabilities(self, samples: torch.Tensor) -> np.ndarray:
        """(samples,) → (frames,), of speech in each."""
        frames = pad(samples, (_CONTEXT, -len(samples) % _FRAME)).unfold(0, _CONTEXT + _FRAME, _FRAME)
        start = np.zeros((1, 1, 128), np.float32)
        return self._network.run(["speech_probs"], {"input": frames.numpy(), "h": start, "c": start})[0].ravel()


def _highest(probabilities: np.ndarray, n: int) -> float:
    """The n-th highest, which n frames reach; 0 if there are fewer."""
    return float(np.sort(probabilities)[-n]) if len(probabilities) >= n else 0.0
