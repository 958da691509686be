"""EmoDB, ten German actors: parsing file names, and the table of clips under `data/`.

Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005), A Database of German Emotional Speech,
Interspeech 2005, 1517-1520. http://emodb.bilderbar.info/docu/, CC0
"""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.corpora.clips import walk_clips

if TYPE_CHECKING:
    import pandas as pd

# By the first letter of the German word: Wut, Ekel, Angst, Freude, Trauer; Langeweile, which RAVDESS does not have.
EMOTIONS = {"W": "angry", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"}
BOREDOM = {"L": "bored"}
SPEAKERS = dict.fromkeys(("03", "10", "11", "12", "15"), "male")  # with their sex
SPEAKERS |= dict.fromkeys(("08", "09", "13", "14", "16"), "female")
N_CLIPS = 535  # including boredom
_NAME = re.compile(rf"({'|'.join(SPEAKERS)})([ab]\d\d)([A-Z])([a-z])")

NO_DATA = (
    "No EmoDB clips under {folder}: `python3 -m speech_emotion download emodb` downloads them, "
    "or unzip http://emodb.bilderbar.info/download/download.zip into {folder}/emodb."
)


def describe(stem: str, boredom: bool = False) -> dict[str, str] | None:
    """emotion (in RAVDESS's words), speaker, sex and sentence of a stem such as `03a01Fa`.

    None for other names, and for bored clips unless `boredom`.
    """
    emotions = EMOTIONS | BOREDOM if boredom else EMOTIONS
    if not (name := _NAME.fullmatch(stem)) or name[3] not in emotions:
        return None
    speaker, sentence, letter, _ = name.groups()
    return {"emotion": emotions[letter], "speaker": speaker, "sex": SPEAKERS[speaker], "sentence": sentence}


def clip_table(folder: str | Path, boredom: bool = False) -> "pd.DataFrame":
    """One row per clip below `folder`: clip (file stem), path, emotion, speaker, sex, sentence.

    The 81 clips of boredom, which is not an emotion of RAVDESS, are left out unless `boredom`.
    Raises NoDataError if there are no clips.
    """
    return walk_clips(folder, partial(describe, boredom=boredom), NO_DATA)
