"""nEMO, nine Polish actors: parsing file names, and the table of clips under `data/`.

Christop I (2024), nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024, 12111-12116.
https://aclanthology.org/2024.lrec-main.1059, CC BY-NC-SA 4.0
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.corpora.clips import walk_clips

if TYPE_CHECKING:
    import pandas as pd

EMOTIONS = {  # in file names → in RAVDESS's words
    "anger": "angry", "fear": "fearful", "happiness": "happy", "neutral": "neutral", "sadness": "sad",
    "surprised": "surprised",
}  # fmt: skip
SPEAKERS = dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female")  # with their sex, from data.tsv
SPEAKERS |= dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male")
N_CLIPS = 4481
_NAME = re.compile(rf"({'|'.join(SPEAKERS)})_({'|'.join(EMOTIONS)})_(\d+)")

NO_DATA = (
    "No nEMO clips under {folder}: `python3 -m speech_emotion download nemo` downloads them, "
    "or clone https://github.com/amu-cai/nEMO into {folder}/nemo."
)


def describe(stem: str) -> dict[str, str] | None:
    """emotion (in RAVDESS's words), speaker, sex and sentence of a stem such as `WR0_surprised_64`; None for others."""
    if not (name := _NAME.fullmatch(stem)):
        return None
    speaker, emotion, sentence = name.groups()
    return {"emotion": EMOTIONS[emotion], "speaker": speaker, "sex": SPEAKERS[speaker], "sentence": sentence}


def clip_table(folder: str | Path) -> "pd.DataFrame":
    """One row per clip below `folder`: clip (file stem), path, emotion, speaker, sex, sentence.

    Raises NoDataError if there are no clips.
    """
    return walk_clips(folder, describe, NO_DATA)
