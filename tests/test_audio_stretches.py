"""Where in a recording somebody is heard."""

from itertools import pairwise

import numpy as np
import pytest

from speech_emotion.audio.stretches import HEARD, StretchSettings, find_stretches, without_crosstalk

SETTINGS = StretchSettings()


def level(*parts: tuple[float, float]) -> np.ndarray:
    """(T,) of parts (seconds, dB)."""
    return np.concatenate([np.full(round(100 * seconds), 10 ** (decibels / 10)) for seconds, decibels in parts])


def seconds(energy: np.ndarray) -> list[tuple[float, float]]:
    return [(stretch.start / 100, stretch.end / 100) for stretch in find_stretches(energy, 2.9)]


def test_a_short_pause_does_not_end_a_stretch_and_a_longer_one_does():
    assert seconds(level((1, -90), (1, -20), (0.29, -90), (1, -20), (1, -90))) == [(1, 3.29)]
    assert seconds(level((1, -90), (1, -20), (0.31, -90), (1, -20), (1, -90))) == [(1, 2), (2.31, 3.31)]


def test_a_quiet_voice_after_a_loud_one_has_a_stretch_of_its_own():
    assert seconds(level((1, -90), (2, -15), (0.6, -90), (1.5, -45), (1, -90))) == [(1, 3), (3.6, 5.1)]


def test_a_long_stretch_is_cut_into_equal_parts():
    for length, n in ((2.9, 1), (3.0, 1), (3.4, 2), (8.7, 3), (60, 21)):
        found = seconds(level((1, -90), (length, -20), (1, -90)))
        assert len(found) == n and found[0][0] == 1 and found[-1][1] == pytest.approx(1 + length)
        assert [end - start for start, end in found] == pytest.approx([length / n] * n, abs=0.011)
        assert all(before[1] == after[0] for before, after in pairwise(found))


def test_a_fragment_joins_the_nearer_neighbour_unless_both_are_far():
    voice, fragment = (1, -20), (0.1, -20)
    assert seconds(level(voice, (0.8, -90), fragment, (0.5, -90), voice)) == [(0, 1), (1.8, 3.4)]
    assert seconds(level(voice, (0.5, -90), fragment, (0.8, -90), voice)) == [(0, 1.6), (2.4, 3.4)]
    assert seconds(level(voice, (2, -90), fragment, (2, -90), voice)) == [(0, 1), (3, 3.1), (5.1, 6.1)]


def test_pauses_are_found_in_the_noise_of_a_room():
    parts = [(1.0, -40.0)]
    for _ in range(4):
        parts += [(1.5, -20.0), (0.7, -40.0)]
    found = seconds(level(*parts))
    assert found == [(pytest.approx(1 + 2.2 * n), pytest.approx(2.5 + 2.2 * n)) for n in range(4)]


def test_what_is_always_loud_is_heard():
    assert seconds(level((10, -20)))[0][0] == 0 and seconds(level((10, -20)))[-1][1] == 10
    assert sum(stretch.n_heard for stretch in find_stretches(level((10, -20)), 2.9)) == 1000


def test_silence_has_no_stretch():
    for energy in (np.zeros(0), np.zeros(100), level((3, -95))):
        assert find_stretches(energy, 2.9) == []


def test_the_onset_is_told_from_faint_sound_before_it():
    """2 % of the energy has passed at the onset: a breath 30 dB below the voice does not count."""
    (stretch,) = find_stretches(level((1, -90), (0.5, -50), (2, -20), (1, -90)), 2.9)
    assert stretch.start == 100 and 150 <= stretch.onset <= 155


@pytest.mark.parametrize("seed", range(20))
def test_stretches_hold_every_frame_within_35_db_once(seed):
    rng = np.random.default_rng(seed)
    parts = [(rng.uniform(0.02, 1.5), rng.choice([-20, -35, -50, -80, -100])) for _ in range(400)]
    energy = level((30, -100), *parts, (30, -100)) * rng.uniform(0.7, 1.4, size=1)
    found = find_stretches(energy, 2.9)
    times_held = np.zeros(len(energy), int)
    for stretch in found:
        times_held[stretch.start : stretch.end] += 1
        assert stretch.start <= stretch.onset < stretch.end
        assert stretch.end - stretch.start <= 330
        assert stretch.n_heard == (energy[stretch.start : stretch.end] >= HEARD * energy.max()).sum()
    assert times_held.max() == 1
    assert times_held[energy >= HEARD * energy.max()].all()
    assert sorted(found, key=lambda stretch: stretch.start) == found


def test_an_echo_in_another_channel_is_no_voice():
    one, other = level((1, -20), (1, -90), (1, -36)), level((1, -36), (1, -90), (1, -20))
    assert (without_crosstalk(np.stack([one, other]))[0][200:] == 0).all()
    near = level((1, -34))
    assert (without_crosstalk(np.stack([level((1, -20)), near]))[1] == near).all()
