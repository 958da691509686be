"""The MFCC front end: window of samples → log-mel spectrogram → MFCC."""

from dataclasses import dataclass

import torch
import torchaudio.functional as AF

from speech_emotion.audio.windows import WindowSettings
from speech_emotion.models.log_mel import LogMel


@dataclass(frozen=True)
class FeatureSettings(WindowSettings):
    """How a recording becomes MFCC; stored in every checkpoint, so that eval.py needs no copy."""

    n_fft: int = 2048  # samples; 43 ms
    hop_length: int = 960  # samples; 20 ms
    n_mels: int = 64
    n_mfcc: int = 64  # as many as mel bands: no detail of the log-mel spectrum is lost
    f_min: float = 40.0  # Hz; below is hum, not voice
    f_max: float = 8_000.0  # Hz; a 16 kHz file still has these frequencies
    top_db: float = 80.0  # dB; the floor, below the loudest point

    @property
    def n_frames(self) -> int:
        return 1 + self.window_samples // self.hop_length


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients of level-normalised recordings.

    Equal to librosa.feature.mfcc(S=librosa.power_to_db(melspectrogram, ref=np.max, top_db=...)): the reference is the
    loudest point of each clip, so the recording level does not matter.
    B: clips, M: mel bands, C: coefficients, T: frames.
    """

    def __init__(self, features: FeatureSettings):
        super().__init__(features)
        with torch.device("cpu"):  # as in LogMel
            dct = AF.create_dct(features.n_mfcc, features.n_mels, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)  # (M, C)

    def from_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, M, T) in dB → (B, C, T)."""
        relative = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
        relative = relative.clamp(min=-self.features.top_db)
        return torch.einsum("bmt,mc->bct", relative, self.dct)
