import re
from dataclasses import replace

import pandas as pd
import pytest
from conftest import REPOSITORY

from speech_emotion.corpora.foreign import NEMO
from speech_emotion.corpora.ravdess import EMOTIONS, describe, expected_clips
from speech_emotion.corpora.splits import folds, stratified_split
from speech_emotion.training.any_voice import AnyVoiceRecipe
from speech_emotion.training.cnn import EmotionCNNRecipe
from speech_emotion.training.runs import Run

TWINS = {"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}


@pytest.fixture(scope="module")
def table():
    return pd.DataFrame([{"clip": clip, **describe(clip)} for clip in expected_clips()])


@pytest.mark.parametrize("seed", range(10))
def test_no_recording_is_on_both_sides(table, seed):
    rest, test = stratified_split(table, seed)
    assert not set(rest["clip"]) & set(test["clip"])
    assert not (TWINS & set(rest["clip"]) and TWINS & set(test["clip"]))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "results/splits").glob("*8-*.csv")), ids=lambda path: path.stem)
def test_the_committed_lists_say_what_was_trained_on(table, path):
    pattern = r"(any|random|speaker)8-(split|fold|emobox)(\d)(?:-seed(\d))?"
    network, kind, number, seed = re.match(pattern, path.stem).groups(default="0")
    shuffled, spoken = path.stem.endswith("shuffled"), path.stem.endswith("spoken")
    held_out = {"split": int(number)} if kind == "split" else {"folds": kind, "fold": int(number)}
    of_network = AnyVoiceRecipe if network == "any" else EmotionCNNRecipe
    settings = replace(of_network.published_settings(shuffled, spoken), seed=int(seed))
    recipe = AnyVoiceRecipe(None, settings) if network == "any" else EmotionCNNRecipe(settings)  # without its encoder
    run = Run(recipe, shuffle_labels=shuffled, spoken=spoken, **held_out)
    assert run.name == path.stem
    listed = pd.read_csv(path).groupby("part")["clip"].agg(set)
    expected = {part: set(clips["clip"]) for part, clips in run.parts(table).items()}
    foreign = {clip for clip in listed["training"] if NEMO.describe(clip)}
    assert len(foreign) == (NEMO.n_clips if network == "any" and not shuffled and not spoken else 0)
    assert listed.to_dict() == expected | {"training": expected["training"] | foreign}


def test_folds_keep_speakers_apart_and_hold_every_clip_out_once(table):
    speakers = table["actor"].where(table["actor"] > 3, table["actor"].astype(str))  # corpora name theirs in two types
    clips = table.assign(speaker=speakers)
    held_out = []
    for rest, test in folds(clips, seed=0):
        assert not set(rest["speaker"]) & set(test["speaker"]) and len(rest) + len(test) == 2452
        assert set(test["emotion"]) == set(EMOTIONS)
        held_out += test["clip"].tolist()
    assert sorted(held_out) == sorted(clips["clip"]) and len(list(folds(clips, seed=0))) == 5
    is_song = clips["clip"].str.startswith("03-02")
    numbered_alike = pd.concat([clips[is_song].reset_index(), clips[~is_song].reset_index()])
    for (_, test), (rest, again) in zip(folds(clips, seed=0), folds(numbered_alike, seed=0), strict=True):
        assert set(test["clip"]) == set(again["clip"]) and len(rest) + len(again) == 2452
    for actors in ([1, 2, 4], [1, 2]):
        few = clips[clips["actor"].isin(actors)]
        assert sorted(test["actor"].unique().item() for _, test in folds(few, seed=0)) == actors


@pytest.mark.parametrize("speaker", [{}, {"speaker": 1}])
def test_without_speakers_files_are_dealt_by_label(table, speaker):
    clips = table.drop(columns="speaker").assign(**speaker)
    shares = [test["emotion"].value_counts()["neutral"] for _, test in folds(clips, seed=1)]
    assert sum(shares) == 188 and max(shares) - min(shares) <= 2
    for rest, test in folds(clips, seed=1):
        assert not (TWINS & set(rest["clip"]) and TWINS & set(test["clip"]))
    rare = clips[clips["emotion"] == "sad"].head(2)
    assert len(list(folds(pd.concat([clips[clips["emotion"] == "calm"], rare]), seed=0))) == 2
