"""Finding the stretches of speech in a recording."""

from itertools import pairwise

import numpy as np
import pytest

from speech_emotion.audio import stretches
from speech_emotion.audio.stretches import (
    HEARD,
    Stretch,
    StretchSettings,
    find_onset,
    find_stretches,
    onset_frame,
    without_crosstalk,
    without_knocks,
)

SETTINGS = StretchSettings()


def level(*parts: tuple[float, float]) -> np.ndarray:
    """Frame energies (T,) of parts (seconds, dB)."""
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


def test_constant_loud_sound_is_entirely_audible():
    assert seconds(level((10, -20)))[0][0] == 0 and seconds(level((10, -20)))[-1][1] == 10
    assert sum(stretch.n_heard for stretch in find_stretches(level((10, -20)), 2.9)) == 1000


def test_in_steady_sound_what_is_10_db_below_the_loudest_frame_is_heard():
    energy = level((3, -20), (1, -29.9), (3, -20), (1, -30.1), (3, -20))
    assert [(stretch.start, stretch.end) for stretch in find_stretches(energy, 100)] == [(0, 700), (800, 1100)]


def test_silence_has_no_stretch():
    for energy in (np.zeros(0), np.zeros(100), level((3, -95))):
        assert find_stretches(energy, 2.9) == []


def test_the_onset_comes_after_faint_sound_before_it():
    """2 % of the energy has passed at the onset: a breath 30 dB below the voice does not count."""
    (stretch,) = find_stretches(level((1, -90), (0.5, -50), (2, -20), (1, -90)), 2.9)
    assert stretch.start == 100 and 150 <= stretch.onset <= 155


@pytest.mark.parametrize("seed", range(5))
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


def test_a_loud_sound_matters_only_near_it():
    """A beep of half a second, and a voice 40 dB below another person's."""
    talk = [(0.3, -45), (0.2, -75)] * 18
    assert find_stretches(level((0.5, -3), (0.5, -90), *talk), 2.9)[-1].end == 980
    (loud, *faint) = find_stretches(level((2, -15), (0.8, -90), (2, -55), (0.8, -90)), 2.9)
    assert (loud.start, loud.end) == (0, 200) and [(each.start, each.end) for each in faint] == [(280, 480)]


@pytest.mark.parametrize("at", [20, 100, 170, 300])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_a_knock_changes_nothing(at, n_frames):
    rng = np.random.default_rng(0)
    energy = level((1, -60), (1.5, -25), (1, -60)) * rng.gamma(8, 1 / 8, size=350)
    knocked = energy.copy()
    knocked[at : at + n_frames] = 0.3
    before, after = (find_stretches(without_knocks(each), 2.9) for each in (energy, knocked))
    assert [(each.start, each.end) for each in after] == [(each.start, each.end) for each in before]
    assert abs(after[0].onset - before[0].onset) <= 1


def test_a_short_tick_has_no_stretch():
    assert find_stretches(level((2, -90), (0.07, -20), (2, -90)), 2.9) == []
    assert len(find_stretches(level((2, -90), (0.08, -20), (2, -90)), 2.9)) == 1


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


def test_the_onset_is_looked_for_with_3_s_on_both_sides_but_not_beyond_the_neighbours(monkeypatch):
    monkeypatch.setattr(stretches, "onset_frame", lambda part: seen.extend([part[0], part[-1] + 1]) or 5)
    for start, end, within, expected in (
        (1000, 1100, (0, 5000), [700, 1400]),
        (1000, 1100, (900, 1250), [900, 1250]),
        (1000, 2000, (0, 5000), [700, 1600]),
    ):
        seen = []
        assert find_onset(np.arange(5000), start, end, within) == expected[0] + 5
        assert seen == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_is_heard_above_the_noise_of_its_block_and_its_neighbours(seed):
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
    found = find_stretches(energy, 100, settings)
    assert [frame for stretch in found for frame in range(stretch.start, stretch.end)] == expected


def test_frames_before_the_first_that_counts_only_tell_how_loud_the_voice_is():
    energy = level((2, -20), (1, -90), (1, -45), (1, -90), (1, -70))
    assert [(each.start, each.end) for each in find_stretches(energy, 2.9, begin=250)] == [(300, 400)]
    assert find_stretches(energy, 2.9, begin=345) == [Stretch(345, 400, 346, 55)]
    assert [(each.start, each.end) for each in find_stretches(energy[250:], 2.9)] == [(50, 150), (250, 350)]


def test_every_part_of_a_long_stretch_has_its_onset_within_it():
    first, second = find_stretches(level((1, -90), (3.5, -50), (2, -20), (1, -90)), 2.9)
    assert (first.start, first.onset, first.end) == (100, 374, 375)
    assert (second.start, second.onset, second.end) == (375, 375, 650)
