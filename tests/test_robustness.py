import numpy as np
import pytest

from research.robustness import conditions, noisy, reverberated, without_silence

RATE = 48_000


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    voice = 0.1 * np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 4 * time))
    return (np.pad(voice, RATE) + rng.normal(scale=1e-4, size=4 * RATE)).astype(np.float32)


def test_every_condition_gives_a_finite_recording(clip):
    for name, condition in conditions([clip] * 3, RATE).items():
        changed = condition(clip, RATE)
        assert changed.ndim == 1 and np.isfinite(changed).all(), name
        assert len(changed) == pytest.approx(len(clip), abs=2.1 * RATE), name
        assert name == "as recorded" or len(changed) != len(clip) or not np.array_equal(changed, clip), name


def test_noise_has_the_asked_ratio(clip):
    noise = np.random.default_rng(1).normal(size=RATE)
    added = noisy(clip, RATE, noise, snr_db=10) - clip
    ratio = 10 * np.log10(np.mean(without_silence(clip, RATE) ** 2) / np.mean(added**2))
    assert ratio == pytest.approx(10, abs=0.01)


def test_a_room_decays_by_60_db_in_its_time():
    click = np.zeros(RATE)
    click[0] = 1
    room = reverberated(click, RATE, rt60_s=0.4)
    early, late = (np.mean(room[round(t * RATE) : round((t + 0.02) * RATE)] ** 2) for t in (0.05, 0.25))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1.5)
    assert np.sum(room[1:] ** 2) == pytest.approx(1, rel=0.01)
