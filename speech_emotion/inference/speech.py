"""In which windows does somebody speak: Silero VAD (https://github.com/snakers4/silero-vad, MIT), from its wheel."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from speech_emotion.audio.resampling import change_rate

RATE = 16_000
_FRAME = 512  # samples that the network judges at once
_CONTEXT = 64  # and those before them that it sees again


class NoDetectorError(ImportError):
    """Silero VAD is not installed; the message says how to get it."""


@dataclass(frozen=True)
class SpeechSettings:
    """What was chosen on the training clips of RAVDESS's split 0 and on generated sounds; never on those of the tests.

    Silero VAD was made for talk at ordinary pitch: screams and song are found when they are played slower as well, at
    one level. The score of a window is the mean square root of its frames' probabilities over all `speeds`.
    """

    threshold: float = 0.2  # the least score of a window in which somebody speaks
    peak: float = 0.1
    speeds: tuple[tuple[int, int], ...] = ((1, 1), (2, 3))  # as fractions; fractions keep the resampling kernel small


class SpeechDetector:
    """Tells the windows with speech from those with music, noise or nothing; raises NoDetectorError when it is absent.

    The network is loaded from its file, not through the package, whose import sets the threads of all of torch.
    """

    def __init__(self, settings: SpeechSettings | None = None):
        self.settings = settings or SpeechSettings()
        if not ((package := find_spec("silero_vad")) and find_spec("onnxruntime")):
            raise NoDetectorError("telling speech needs Silero VAD: pip install -r requirements-speech.txt")
        import onnxruntime

        model = Path(package.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, windows: torch.Tensor, sample_rate: int) -> list[bool]:
        """(B, samples) at `sample_rate` Hz → whether somebody speaks in each."""
        return (self.scores(windows, sample_rate) >= self.settings.threshold).tolist()

    @torch.inference_mode()
    def scores(self, windows: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """(B, samples) at `sample_rate` Hz → how much of each is speech, from 0 to 1: (B,)."""
        windows = change_rate(windows, sample_rate, RATE)
        windows = self.settings.peak * windows / windows.abs().amax(dim=1, keepdim=True).clamp(min=1e-9)
        return torch.stack([self._score(change_rate(windows, *speed)) for speed in self.settings.speeds]).mean(dim=0)

    def _score(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, samples) at 16 kHz → the mean over the frames that hold anything but zeros, which are padding: (B,)."""
        missing = -windows.shape[1] % _FRAME
        frames = pad(windows, (_CONTEXT, missing)).unfold(1, _CONTEXT + _FRAME, _FRAME)
        start = np.zeros((1, 1, 128), np.float32)
        inputs = ({"input": window.numpy(), "h": start, "c": start} for window in frames)
        probabilities = np.stack([self._network.run(["speech_probs"], each)[0] for each in inputs])
        holds = frames.abs().amax(dim=2) > 0
        return (torch.from_numpy(probabilities).sqrt() * holds).sum(1) / holds.sum(1).clamp(min=1)
