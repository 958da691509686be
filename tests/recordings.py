"""A voice made by code, and recordings of it in every container and codec that FFmpeg writes."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import soundfile
from av.stream import Disposition

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.audio.resampling import load_audio

RATE = 16_000
BIT_RATES = {"libspeex": 42_000, "wmav1": 64_000, "wmav2": 64_000}  # FFmpeg has no default that they take
_SCALE = 32_767


def voice(seconds: float = 4, seed: int = 0) -> np.ndarray:
    """(samples,) at RATE: harmonics of a pitch that glides, in syllables; what speech codecs are made for."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 10 * np.sin(2 * np.pi * 0.4 * time)) / RATE
    harmonics = sum(np.sin(k * phase) / k**2 for k in range(3, 9))
    syllables = np.interp(time, np.arange(0, seconds + 1, 0.25), rng.uniform(0.1, 1, int(4 * seconds + 4)))
    return (0.3 * harmonics * syllables).astype(np.float32)


def encoded_noise(seconds: float, **options) -> bytes:
    """The content of a file of noise at RATE; `options` are those of soundfile.write."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * RATE))
    soundfile.write(file, noise, RATE, **options)
    return file.getvalue()


def encode(
    path: Path,
    samples: np.ndarray | Sequence[np.ndarray],
    codec: str,
    container: str | None = None,
    rate: int = RATE,
    picture: bool = False,
    later: Callable[[float], float] = lambda seconds: 0,
    default: int | None = None,
    options: dict[str, str] | None = None,
    **settings,
) -> None:
    """Write (samples,) or (samples, channels) at RATE, or a list of them as tracks, of which `default` is one.

    With a moving picture beside it if asked. `later` says by how many seconds to move what is at that many seconds.
    """
    tracks = [samples] if isinstance(samples, np.ndarray) else samples
    seconds = len(tracks[0]) / RATE
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        if picture:
            film = output.add_stream(
                "flv1" if path.suffix == ".flv" else "mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p"
            )
        packets = []
        streams = [_add(output, codec, rate, track, settings) for track in tracks]
        for number, stream in enumerate(streams if default is not None else []):
            stream.disposition = int(Disposition.default.value) if number == default else 0
        for stream, track in zip(streams, tracks, strict=True):
            packets += _encoded(stream, rate, track)
        if picture:
            for _ in range(round(10 * (seconds + later(seconds)))):
                packets += film.encode(av.VideoFrame(32, 32, "yuv420p"))
            packets += film.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base if packet.dts else 0):
            if packet.stream in streams:
                moved = round(later(float(packet.pts * packet.time_base)) / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            output.mux(packet)


def make(folder: Path, kind: str, samples: np.ndarray | Sequence[np.ndarray], **options) -> Path:
    """A recording in `folder`; `kind` is its name, codec, container (- if the ending says it) and rate in Hz."""
    name, codec, container, rate = kind.split()
    options |= {"bit_rate": BIT_RATES[codec]} if codec in BIT_RATES else {}
    encode(folder / name, samples, codec, None if container == "-" else container, int(rate), **options)
    return folder / name


def encoded(kind: str, samples: np.ndarray) -> bytes:
    """The content of what `make` makes."""
    with TemporaryDirectory() as folder:
        return make(Path(folder), kind, samples).read_bytes()


def _add(output, codec: str, rate: int, samples: np.ndarray, settings: dict):
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1] if samples.ndim == 2 else 1]
    return output.add_stream(codec, rate=rate, layout=layout, **settings)


def _encoded(stream, rate: int, samples: np.ndarray) -> list[av.Packet]:
    whole = np.round(samples.reshape(len(samples), -1) * _SCALE).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout=stream.layout.name)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    resampler = av.AudioResampler(stream.format, stream.layout, rate, stream.frame_size or 1024)
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for part in [*parts, None] for packet in stream.encode(part)]


def read(path: Path, **options) -> tuple[np.ndarray, RecordingInfo]:
    """The samples of a recording at RATE, and what else is known of it."""
    info = RecordingInfo()
    return load_audio(path, RATE, info=info, **options).numpy(), info


def likeness(samples: np.ndarray, expected: np.ndarray, within_s: float = 0.1) -> float:
    """The correlation of two recordings at RATE, (samples,), at the delay that makes it largest; 0 if none is short."""
    n, most = min(len(samples), len(expected)), round(within_s * RATE)
    products = np.fft.irfft(np.fft.rfft(samples[:n], 2 * n) * np.fft.rfft(expected[:n], 2 * n).conj())
    delay = max(range(-most, most + 1), key=lambda delay: products[delay])
    early, late = (expected[:n], samples[:n]) if delay >= 0 else (samples[:n], expected[:n])
    return float(np.corrcoef(early[: n - abs(delay)], late[abs(delay) :])[0, 1])
