"""Finding the stretches of speech in a recording."""

from itertools import pairwise

import numpy as np
import pytest

from speech_emotion.audio import stretches
from speech_emotion.audio.stretches import HEARD, StretchSettings, find_stretches, onset_frame, without_crosstalk


def level(*parts: tuple[float, float]) -> np.ndarray:
    """Frame energies (T,) of parts (seconds, dB)."""
    return np.concatenate([np.full(round(100 * seconds), 10 ** (decibels / 10)) for seconds, decibels in parts])


def seconds(energy: np.ndarray) -> list[tuple[float, float]]:
    return [(stretch.start / 100, stretch.end / 100) for stretch in find_stretches(energy, 2.9)]


VOICE, PAUSE, FRAGMENT = (1, -20), (1, -90), (0.1, -20)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([PAUSE, VOICE, (0.29, -90), VOICE, PAUSE], [(1, 3.29)], id="short pause"),
        pytest.param([PAUSE, VOICE, (0.31, -90), VOICE, PAUSE], [(1, 2), (2.31, 3.31)], id="longer pause"),
        pytest.param([PAUSE, (2, -15), (0.6, -90), (1.5, -45), PAUSE], [(1, 3), (3.6, 5.1)], id="quiet voice"),
        pytest.param([(2, -15), (0.8, -90), (2, -55), (0.8, -90)], [(0, 2), (2.8, 4.8)], id="40 dB quieter"),
        pytest.param([VOICE, (0.8, -90), FRAGMENT, (0.5, -90), VOICE], [(0, 1), (1.8, 3.4)], id="fragment before"),
        pytest.param([VOICE, (0.5, -90), FRAGMENT, (0.8, -90), VOICE], [(0, 1.6), (2.4, 3.4)], id="fragment after"),
        pytest.param([VOICE, (2, -90), FRAGMENT, (2, -90), VOICE], [(0, 1), (3, 3.1), (5.1, 6.1)], id="far fragment"),
        pytest.param([(2, -90), (0.07, -20), (2, -90)], [], id="tick"),
        pytest.param([(2, -90), (0.08, -20), (2, -90)], [(2, 2.08)], id="short word"),
        pytest.param([(1, -40), *[(1.5, -20), (0.7, -40)] * 2], [(1, 2.5), (3.2, 4.7)], id="noise of a room"),
        pytest.param([(3, -95)], [], id="silence"),
    ],
)
def test_pauses_fragments_and_noise(parts, expected):
    assert seconds(level(*parts)) == [pytest.approx(span) for span in expected]


def test_a_loud_beep_hides_no_voice_after_it():
    talk = [(0.3, -45), (0.2, -75)] * 18
    assert find_stretches(level((0.5, -3), (0.5, -90), *talk), 2.9)[-1].end == 980


def test_a_long_stretch_is_cut_into_equal_parts():
    for length, n in ((2.9, 1), (3.0, 1), (3.4, 2), (8.7, 3), (60, 21)):
        found = seconds(level((1, -90), (length, -20), (1, -90)))
        assert len(found) == n and found[0][0] == 1 and found[-1][1] == pytest.approx(1 + length)
        assert [end - start for start, end in found] == pytest.approx([length / n] * n, abs=0.011)
        assert all(before[1] == after[0] for before, after in pairwise(found))


@pytest.mark.parametrize("seed", range(3))
def test_stretches_do_not_overlap_and_hold_every_loud_frame_once(seed):
    rng = np.random.default_rng(seed)
    parts = [(rng.uniform(0.1, 1.5), rng.choice([-20, -35, -50, -80, -100])) for _ in range(400)]
    energy = level((30, -100), *parts, (30, -100)) * rng.uniform(0.7, 1.4, size=1)
    found = find_stretches(energy, 2.9)
    times_held = np.zeros(len(energy), int)
    for stretch in found:
        times_held[stretch.start : stretch.end] += 1
        assert stretch.start <= stretch.onset < stretch.end <= stretch.start + 330
        loud = (energy[stretch.start : stretch.end] >= HEARD * energy.max()).sum()
        assert loud <= stretch.n_heard <= stretch.end - stretch.start
    assert times_held.max() == 1 and times_held[energy >= HEARD * energy.max()].all()
    assert sorted(found, key=lambda stretch: stretch.start) == found


def test_an_echo_in_another_channel_is_not_a_voice():
    one, other = level((1, -20), (1, -90), (1, -35.1)), level((1, -35.1), (1, -90), (1, -20))
    assert (without_crosstalk(np.stack([one, other]))[0][200:] == 0).all()
    near = level((1, -34.9))
    assert (without_crosstalk(np.stack([level((1, -20)), near]))[1] == near).all()


def test_a_voice_beside_another_sound_is_not_its_echo():
    """Constant, as a time code, or a click in every half second."""
    voice = level(*[(0.2, -50), (0.1, -60), (0.2, -90)] * 8)
    for other in (level((4, -10)), level(*[(0.03, -10), (0.47, -90)] * 8)):
        kept = without_crosstalk(np.stack([other, voice, 0.01 * other]))
        assert (kept[1] > 0)[voice > 1e-7].mean() > 0.85 and not kept[2][other > 1e-7].any()


def test_the_onset_is_where_2_percent_of_the_energy_above_twice_the_noise_has_passed():
    rng = np.random.default_rng(0)
    for n in [1, 2, 3, *range(20, 320, 10)]:
        energy = rng.gamma(2, size=n) * np.linspace(1, 3, n)
        floor = np.quantile(energy, 0.1)
        above = [max(0.0, each - 2 * floor) for each in energy]
        above = np.minimum(above, np.quantile(above, 0.95))
        passed = [above[: frame + 1].sum() >= 0.02 * above.sum() for frame in range(n)]
        assert onset_frame(energy) == passed.index(True)
    assert onset_frame(np.array([0.0, 0, 0, 1])) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_is_heard_above_the_noise_of_its_block_and_its_neighbours(seed, monkeypatch):
    """6 dB above the least of the three, or 10 dB below the loudest frame; and 35 dB below what is loud nearby."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(-40, 0, size=13).repeat(20)[:-7]
    energy = 10 ** ((noise + rng.uniform(0, 15, size=len(noise))) / 10)
    energy[rng.uniform(size=len(energy)) < 0.2] = 0
    energy[60:100] = 0
    blocks = [block[block > 0] for block in np.split(energy, range(20, len(energy), 20))]
    floors = [np.quantile(block, 0.05) if len(block) else None for block in blocks]
    decibels = 10 * np.log10(energy.clip(min=1e-9))
    loud = np.sort(decibels)[-100]
    expected = []
    for frame, heard in enumerate(decibels):
        around = [floor for floor in floors[max(0, frame // 20 - 1) : frame // 20 + 2] if floor]
        noise = min(10 * np.log10(min(around)) + 6, decibels.max() - 10) if around else -np.inf
        faded = max(other - abs(frame - place) / 10 for place, other in enumerate(decibels)) - 35
        if heard >= max(noise, faded, loud - 45):
            expected.append(frame)
    settings = StretchSettings(pause_s=0.01, fragment_s=0, block_s=0.2, shortest_s=0)
    monkeypatch.setattr(stretches, "SETTINGS", settings)
    found = find_stretches(energy, 100)
    assert [frame for stretch in found for frame in range(stretch.start, stretch.end)] == expected
