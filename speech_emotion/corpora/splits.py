"""Training, validation and test splits. Every split is a pair of tables that share no recording."""

from collections.abc import Iterator

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from speech_emotion.corpora.labels import has_speakers
from speech_emotion.corpora.ravdess import copies_of

# Test actors of the five folds in Luna-Jiménez et al. (2021), Sensors 21(22): 7665.
ACTOR_FOLDS = (
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)

# Those of EmoBox's six folds of RAVDESS, which are of spoken clips only: Ma et al. (2024), Interspeech, 1580-1584,
# https://github.com/emo-box/EmoBox.
EMOBOX_FOLDS = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)

FOLDS = {  # by name, as in the names of runs: the test actors, and the channels that are tested
    "fold": (ACTOR_FOLDS, ("speech", "song")),
    "emobox": (EMOBOX_FOLDS, ("speech",)),
}

N_FOLDS = 5  # of the user's own recordings


def stratified_split(clips: pd.DataFrame, seed: int, test_size: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rest, test): the usual random split of the field, with every actor on both sides.

    `clips` is sorted by file stem first, so that a seed gives the same split everywhere.
    """
    clips = clips.sort_values("clip")
    rest, test = train_test_split(clips, test_size=test_size, stratify=clips["emotion"], random_state=seed)
    return _without_copies(rest, test), test


def fold_split(clips: pd.DataFrame, folds: str, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rest, test) of one of FOLDS, speaker-independent; clips of the test actors in other channels are left out."""
    test_actors, channels = FOLDS[folds]
    is_test = clips["actor"].isin(test_actors[number])
    rest, test = clips[~is_test], clips[is_test]
    return _without_copies(rest, test), test[test["channel"].isin(channels)]


def folds(clips: pd.DataFrame, seed: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """(rest, held out) N_FOLDS times: every clip is held out once, as stratified by label as possible.

    If speakers are known, each is on one side only; otherwise files are split at random. With fewer speakers than
    folds, or fewer clips of a label, there are fewer folds. The first pair can serve as (training, validation).
    """
    clips = clips.sort_values("clip", ignore_index=True)
    groups = pd.factorize(clips["speaker"])[0] if has_speakers(clips) else clips.index.to_numpy()
    n_folds = min(N_FOLDS, len(set(groups)), clips["emotion"].value_counts().min())
    for _, held_out in StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(
        clips, clips["emotion"], groups
    ):
        test = clips.iloc[held_out]
        if len(test):
            yield _without_copies(clips.drop(test.index), test), test


def _without_copies(rest: pd.DataFrame, held_out: pd.DataFrame) -> pd.DataFrame:
    return rest[~rest["clip"].isin(copies_of(held_out["clip"]))]
