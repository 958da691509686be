"""Folders for --adapt: what is drawn, and that its answers are those of eval.py."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import small_any_voice, write_noise

from research import adaptation as folders
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
        mostly = [
            max((emotions == emotion).mean() for emotion in {*emotions}) for emotions in found[folders.shares(share)]
        ]
        assert mostly == pytest.approx([share] * len(mostly)) and len(mostly) == 3 * 5
    assert {len(emotions) for emotions in found[folders.shares(1.0)]} == {8, 10}, "of calm there are only eight"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> pd.DataFrame:
    """Clips of two speakers, some of several stretches, and what is true of them by chance."""
    home, rows, rng = tmp_path_factory.mktemp("spoken"), [], np.random.default_rng(0)
    for number in range(16):
        path = home / f"{number}.wav"
        write_noise(path, number, seconds=7 if number % 5 == 0 else 1)
        samples, rate = soundfile.read(path)
        soundfile.write(
            path, samples * (1 + np.sin(np.arange(len(samples)) * 2 * np.pi * (number + 1) / rate)) / 2, rate
        )
        rows.append({"clip": str(number), "path": str(path), "speaker": "ab"[number % 2]})
    return pd.DataFrame(rows).assign(emotion=rng.choice(["calm", "happy", "sad"], 16))


def test_counts_are_those_of_the_answers_of_eval(spoken):
    predictor = Predictor(small_any_voice(["calm", "happy", "sad"]), "cpu", speech_only=False)
    counts = folders.measure(predictor, spoken)
    everything = counts[counts["folder"] == folders.ALL].set_index(["speaker", "emotion"])
    speaker_of = dict(zip(spoken["path"], spoken["speaker"], strict=True))
    adaptation = Adaptation(predictor, spoken["path"], speaker_of.get)
    for column, statistics in (("plain", None), ("adapted", adaptation)):
        said = [answer.rows[0]["emotion"] for answer in predictor.answers(spoken["path"], statistics=statistics)]
        right = (spoken["emotion"] == said).groupby([spoken["speaker"], spoken["emotion"]]).sum()
        assert everything[column].to_dict() == right.to_dict()
    assert everything["recordings"].sum() == 16
    joined = folders.measure(predictor, spoken.assign(emotion="sad"), {"calm": "sad", "happy": "sad"})
    assert (joined["adapted"] == joined["recordings"]).all() and (joined["plain"] == joined["recordings"]).all()
