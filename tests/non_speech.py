"""Sounds in which nobody speaks, made by code: 12 kinds, each in several variants, 3 s at 16 kHz.

No threshold was chosen on them. Real sounds are harder: research/speech_only.py takes those.
"""

from collections.abc import Iterator

import numpy as np
from scipy.signal import chirp

RATE = 16_000
SECONDS = 3
N_VARIANTS = 9
_TIME = np.arange(SECONDS * RATE) / RATE
_TIMBRES = (  # a flute, an organ, a reed and a string
    [1, 0.1, 0.05],
    [1, 0.5, 0.6, 0.2, 0.3],
    [1, 0, 0.6, 0, 0.4, 0, 0.3],
    [1 / k for k in range(1, 12)],
)


def non_speech(seed: int = 2024) -> Iterator[tuple[str, np.ndarray]]:
    """(name, samples (48000,) float32 with a peak of 0.5), 108 of them."""
    for kind, make in _KINDS.items():
        for variant in range(N_VARIANTS):
            samples = make(np.random.default_rng([seed, *kind.encode(), variant]), variant)
            yield f"{kind}-{variant}", (samples / np.abs(samples).max() / 2).astype(np.float32)


def _note(frequency: float, timbre: list[float], time: np.ndarray) -> np.ndarray:
    partials = [(k, strength) for k, strength in enumerate(timbre, 1) if k * frequency < RATE / 2]
    return sum(strength * np.sin(2 * np.pi * k * frequency * time) for k, strength in partials)


def _tone(rng, variant):
    return _note(rng.uniform(80, 2000), [1], _TIME) + 1e-3 * rng.normal(size=len(_TIME))


def _chord(rng, variant):
    root = 110 * 2 ** (rng.integers(0, 24) / 12)
    steps = (0, 3, 7) if variant % 2 else (0, 4, 7, 12)
    return sum(_note(root * 2 ** (step / 12), _TIMBRES[variant % 4], _TIME) for step in steps)


def _melody(rng, variant):
    samples = np.zeros(len(_TIME))
    length = int(rng.uniform(0.15, 0.5) * RATE)
    for start in range(0, len(samples) - length, length):
        frequency = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 14]) / 12)
        time = _TIME[:length]
        envelope = np.minimum(time / 0.02, 1) * np.exp(-time * rng.uniform(1, 6))
        samples[start : start + length] = envelope * _note(frequency, _TIMBRES[variant % 4], time)
    return samples


def _coloured(exponent):
    def noise(rng, variant):
        spectrum = np.fft.rfft(rng.normal(size=len(_TIME)))
        frequencies = np.maximum(np.fft.rfftfreq(len(_TIME), 1 / RATE), 20)
        return np.fft.irfft(spectrum / frequencies**exponent, len(_TIME))

    return noise


def _sweep(rng, variant):
    low, high = rng.uniform(50, 300), rng.uniform(1000, 7000)
    start, end = (low, high) if variant % 2 else (high, low)
    return chirp(_TIME, start, SECONDS, end, method="logarithmic")


def _engine(rng, variant):
    speed = rng.uniform(25, 90) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.2, 1) * _TIME))
    phase = 2 * np.pi * np.cumsum(speed) / RATE
    return sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 15)) + 0.3 * rng.normal(size=len(_TIME))


def _hum(rng, variant):
    mains = 50 if variant % 2 else 60
    return _note(mains, [1, 0.5, 0.3, 0.1], _TIME) * 10 ** rng.uniform(-3, 0) + 0.02 * rng.normal(size=len(_TIME))


def _two_notes(rng, variant):
    """What a desktop plays: two notes, up or down, each with its attack and decay, then nothing."""
    length = int(rng.uniform(0.12, 0.3) * RATE)
    time = _TIME[:length]
    low = rng.uniform(200, 700)
    notes = [low, low * rng.choice([1.25, 1.33, 1.5, 2])][:: 1 if variant % 2 else -1]
    envelope = np.minimum(time / 0.02, 1) * np.exp(-time * rng.uniform(2, 8))
    samples = np.concatenate([envelope * _note(note, _TIMBRES[variant % 4], time) for note in notes])
    return np.pad(samples, (RATE // 10, len(_TIME) - RATE // 10 - len(samples)))


def _vibrato(rng, variant):
    """A saw or a theremin that is sung like a voice, without its formants."""
    pitch = rng.uniform(150, 600) * 2 ** (np.sin(2 * np.pi * rng.uniform(4, 7) * _TIME) / 24)
    phase = np.cumsum(pitch) / RATE
    return sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 2 + variant))


_KINDS = {
    "tone": _tone,
    "chord": _chord,
    "melody": _melody,
    "white": _coloured(0),
    "pink": _coloured(0.5),
    "brown": _coloured(1),
    "sweep": _sweep,
    "engine": _engine,
    "hum": _hum,
    "two notes": _two_notes,
    "vibrato": _vibrato,
    "alternating": lambda rng, variant: _tone(rng, variant) * (np.sin(2 * np.pi * (1 + variant) * _TIME) > 0),
}
