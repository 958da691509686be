"""URDU, 29 speakers of Urdu talk shows: parsing file names, and the table of clips under `data/`. For testing only.

The clips are spontaneous, unlike those of the other corpora here. Latif S, Qayyum A, Usman M, Qadir J (2018), Cross
Lingual Speech Emotion Recognition: Urdu vs. Western Languages, FIT 2018, 88-93. https://arxiv.org/abs/1812.10411, for
research only. The paper counts 38 speakers, the file names 29.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.corpora.clips import walk_clips

if TYPE_CHECKING:
    import pandas as pd

EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
N_CLIPS = 400
_NAME = re.compile(rf"(S[MF]\d+)_F\d+_([{''.join(EMOTIONS)}])\d+")

NO_DATA = (
    "No URDU clips under {folder}: `python3 -m speech_emotion download urdu` downloads them, "
    "or clone https://github.com/siddiquelatif/URDU-Dataset into {folder}/urdu."
)


def describe(stem: str) -> dict[str, str] | None:
    """emotion (in RAVDESS's words), speaker and sex of a stem such as `SM1_F10_A010`; None for other names."""
    if not (name := _NAME.fullmatch(stem)):
        return None
    speaker, letter = name.groups()
    return {"emotion": EMOTIONS[letter], "speaker": speaker, "sex": "male" if speaker[1] == "M" else "female"}


def clip_table(folder: str | Path) -> "pd.DataFrame":
    """One row per clip below `folder`: clip (file stem), path, emotion, speaker, sex.

    Raises NoDataError if there are no clips.
    """
    return walk_clips(folder, describe, NO_DATA)
