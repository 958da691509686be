"""RAVDESS: parsing file names, and the table of clips under `data/`.

Livingstone SR, Russo FA (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song,
PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391
"""

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.corpora.clips import walk_clips
from speech_emotion.terminal import some

if TYPE_CHECKING:  # not needed to parse names, and slow to import
    import pandas as pd

CHANNELS = ("speech", "song")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

# The values of each field, in the order of the file name; a code is a position in the tuple, counted from 01.
_FIELDS = {
    "modality": ("audio-video", "video-only", "audio-only"),
    "channel": CHANNELS,
    "emotion": EMOTIONS,
    "intensity": ("normal", "strong"),
    "statement": ("Kids are talking by the door", "Dogs are sitting by the door"),
    "repetition": (1, 2),
    "actor": tuple(range(1, 25)),
}
_NAME = re.compile(r"\d\d(-\d\d){6}")

COPIES = {"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}  # one recording under two names

NO_DATA = (
    "No RAVDESS clips under {folder}: `python3 -m speech_emotion download` downloads them, or get the two "
    "Audio_*_Actors_01-24.zip from https://zenodo.org/records/1188976 and unzip them into {folder}/speech_actors and "
    "{folder}/song_actors."
)


def describe(stem: str) -> dict[str, str | int] | None:
    """The seven parts of a RAVDESS file stem in words, sex, and speaker (the actor); None for other names.

    >>> describe("03-01-06-01-02-01-12")["emotion"]
    'fearful'
    """
    if not _NAME.fullmatch(stem):
        return None
    codes = [int(code) for code in stem.split("-")]
    if not all(1 <= code <= len(choices) for code, choices in zip(codes, _FIELDS.values(), strict=True)):
        return None
    parts = {field: choices[code - 1] for code, (field, choices) in zip(codes, _FIELDS.items(), strict=True)}
    return parts | {"sex": "male" if parts["actor"] % 2 else "female", "speaker": parts["actor"]}


def expected_clips(channel: str | None = None) -> set[str]:
    """The 1440 spoken and 1012 sung file stems of the audio-only release, or those of one channel."""
    stems = set()
    for code, emotions in ((1, range(1, 9)), (2, range(1, 7))):
        for emotion, intensity, statement, take, actor in product(emotions, (1, 2), (1, 2), (1, 2), range(1, 25)):
            is_neutral_and_strong = emotion == 1 and intensity == 2  # neutral has one intensity
            is_missing = code == 2 and actor == 18  # who does not sing
            if channel in (None, CHANNELS[code - 1]) and not is_neutral_and_strong and not is_missing:
                stems.add(f"03-{code:02d}-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{actor:02d}")
    return stems


def clip_table(data_dir: str | Path) -> "pd.DataFrame":
    """One row per clip below `data_dir`, sorted by file stem: clip (the stem), path, and what `describe` says.

    Raises NoDataError if there are no clips.
    """
    return walk_clips(data_dir, describe, NO_DATA)


def check_table(table: "pd.DataFrame") -> list[str]:
    """A sentence for each way in which the clips differ from the release; empty if they are complete."""
    clips = set(table["clip"])
    problems = []
    for channel in CHANNELS:
        expected = expected_clips(channel)
        if missing := sorted(expected - clips):
            problems.append(f"{len(missing)} of {len(expected)} {channel} clips are missing: {some(missing)}")
    if unexpected := sorted(clips - expected_clips()):
        problems.append(f"{len(unexpected)} clips are not part of the audio-only release: {some(unexpected)}")
    return problems


def copies_of(clips: Iterable[str]) -> set[str]:
    """The other stems under which a recording in `clips` is stored."""
    stems = COPIES & {*clips}
    return COPIES - stems if stems else set()
