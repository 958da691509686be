"""What is measured for the documents: folders for --adapt, noise, rooms and codecs, and a baseline."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import small_any_voice

from research import adaptation as folders
from research.baseline import by_actor, predict_fold
from research.robustness import conditions, noisy, predict_adapted, reverberated, without_silence
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora.ravdess import describe, expected_clips
from speech_emotion.evaluation.metrics import uar
from speech_emotion.inference.adaptation import Adaptation
from speech_emotion.inference.predictor import Predictor

EMOTIONS = np.array(["calm"] * 8 + ["happy"] * 30 + ["sad"] * 22)


def test_folders_hold_what_their_kind_says():
    found: dict[str, list[np.ndarray]] = {}
    for kind, chosen in folders.folders(EMOTIONS, np.random.default_rng(0)):
        assert len(set(chosen)) == len(chosen), "nothing is in a folder twice"
        found.setdefault(kind, []).append(EMOTIONS[chosen])
    for size in folders.SIZES:
        of_size = found[folders.sizes(size)]
        assert {len(emotions) for emotions in of_size} == {size} and sum(map(len, of_size)) == 200
    assert [len(emotions) for emotions in found[folders.ALL]] == [60]
    for share in folders.SHARES:
        mostly = [pd.Series(emotions).value_counts(normalize=True).max() for emotions in found[folders.shares(share)]]
        assert mostly == pytest.approx([share] * len(mostly)) and len(mostly) == 3 * 5
    assert {len(emotions) for emotions in found[folders.shares(1.0)]} == {8, 10}, "of calm there are only eight"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> pd.DataFrame:
    """Clips of two speakers, some of several stretches, and what is true of them by chance."""
    home, rows, rng = tmp_path_factory.mktemp("spoken"), [], np.random.default_rng(0)
    for number in range(16):
        path, time = home / f"{number}.wav", np.arange(16_000 * (7 if number % 5 == 0 else 1)) / 16_000
        noise = rng.normal(scale=0.05, size=len(time))
        soundfile.write(path, noise * (1 + np.sin(2 * np.pi * (number + 1) * time)), 16_000)
        rows.append({"clip": str(number), "path": str(path), "speaker": "ab"[number % 2]})
    return pd.DataFrame(rows).assign(emotion=rng.choice(["calm", "happy", "sad"], 16))


def answers_of_eval(predictor: Predictor, clips: pd.DataFrame, paths: pd.Series) -> dict[str, pd.Series]:
    """Without and with --adapt, as if each speaker's clips were classified alone."""
    said = {"plain": pd.Series("", clips.index), "adapted": pd.Series("", clips.index)}
    for _, of_speaker in paths.groupby(clips["speaker"]):
        for column, statistics in (("plain", None), ("adapted", Adaptation(predictor, of_speaker))):
            answers = predictor.answers(of_speaker, statistics=statistics)
            said[column][of_speaker.index] = [answer.rows[0]["emotion"] for answer in answers]
    return said


def test_counts_are_those_of_the_answers_of_eval(spoken):
    predictor = Predictor(small_any_voice(["calm", "happy", "sad"]), "cpu", speech_only=False)
    counts = folders.measure(predictor, spoken)
    everything = counts[counts["folder"] == folders.ALL].set_index(["speaker", "emotion"])
    for column, said in answers_of_eval(predictor, spoken, spoken["path"]).items():
        right = (spoken["emotion"] == said).groupby([spoken["speaker"], spoken["emotion"]]).sum()
        assert everything[column].to_dict() == right.to_dict()
    assert everything["recordings"].sum() == 16
    joined = folders.measure(predictor, spoken.assign(emotion="sad"), {"calm": "sad", "happy": "sad"})
    assert (joined["adapted"] == joined["recordings"]).all() and (joined["plain"] == joined["recordings"]).all()


RATE = 48_000


def test_answers_under_a_condition_are_those_of_eval_for_such_files(spoken, tmp_path):
    predictor = Predictor(small_any_voice(["calm", "happy", "sad"]), "cpu", speech_only=False)
    waveforms = [load_audio(path, RATE).numpy() for path in spoken["path"]]
    paths = spoken["clip"].map(lambda clip: str(tmp_path / f"{clip}.wav"))
    for path, samples in zip(paths, waveforms, strict=True):
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    said = predict_adapted(predictor, spoken["speaker"].to_numpy(), waveforms)
    expected = answers_of_eval(predictor, spoken, paths)
    assert {name: [*column] for name, column in said.items()} == {name: [*column] for name, column in expected.items()}
    assert [*said["plain"]] != [*said["adapted"]]


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


def test_the_baseline_learns_nothing_from_test_clips_and_normalises_voices():
    clips = pd.DataFrame([{"clip": clip, **describe(clip)} for clip in sorted(expected_clips("speech"))])
    rng = np.random.default_rng(0)
    embedded = rng.normal(size=(len(clips), 8)) + 2 * pd.get_dummies(clips["emotion"]).to_numpy()
    table = predict_fold(clips, embedded, 0)
    is_test = clips["actor"].isin([1, 11, 20, 21]).to_numpy()
    assert list(table["clip"]) == list(clips["clip"][is_test]) and 0.5 < uar(table) < 0.95
    relabelled, moved = clips.assign(emotion=clips["emotion"].where(~is_test, "sad")), embedded.copy()
    moved[np.flatnonzero(is_test)[1:]] += 9
    again = predict_fold(relabelled, moved, 0)
    assert again.iloc[0, 2:].equals(table.iloc[0, 2:]) and not again["prediction"].equals(table["prediction"])
    gains, offsets = rng.uniform(1, 2, size=(25, 8)), rng.normal(size=(25, 8))
    of_other_voices = embedded * gains[clips["actor"]] + offsets[clips["actor"]]
    assert by_actor(of_other_voices, clips["actor"]) == pytest.approx(by_actor(embedded, clips["actor"]))
