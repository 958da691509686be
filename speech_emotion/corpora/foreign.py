"""Corpora in other languages than RAVDESS: nEMO, EmoDB and URDU. Another corpus is another entry.

nEMO, nine Polish actors: Christop I (2024), nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024,
12111-12116. https://aclanthology.org/2024.lrec-main.1059, CC BY-NC-SA 4.0

EmoDB, ten German actors, for testing only: Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005), A
Database of German Emotional Speech, Interspeech 2005, 1517-1520. http://emodb.bilderbar.info/docu/, CC0

URDU, 29 speakers of Urdu talk shows, for testing only. The clips are spontaneous, unlike those of the others. Latif S,
Qayyum A, Usman M, Qadir J (2018), Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, FIT 2018,
88-93. https://arxiv.org/abs/1812.10411, for research only. The paper counts 38 speakers, the file names 29.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.corpora.clips import walk_clips

if TYPE_CHECKING:  # not needed to parse names, and slow to import
    import pandas as pd


@dataclass(frozen=True)
class ForeignCorpus:
    """A corpus whose file names say the emotion and the speaker of a clip."""

    name: str
    folder: str  # below data/, and its name for the download
    archive: str  # url of the publisher's zip file
    n_clips: int
    space: float  # GB, archive and unpacked clips together
    stem: str  # of a clip's file: a regular expression with the groups speaker, emotion and, if known, sentence
    emotions: dict[str, str]  # in file names → in RAVDESS's words, where it has them
    sex_of: Callable[[str], str]  # of a speaker

    def describe(self, stem: str) -> dict[str, str] | None:
        """emotion, speaker, sex and, if known, sentence of the clip with a file stem; None for other names."""
        match = re.fullmatch(self.stem, stem)
        if not match or match["emotion"] not in self.emotions:
            return None
        parts = match.groupdict()
        emotion, speaker = self.emotions[parts.pop("emotion")], parts.pop("speaker")
        return {"emotion": emotion, "speaker": speaker, "sex": self.sex_of(speaker), **parts}

    def clip_table(self, folder: str | Path) -> "pd.DataFrame":
        """One row per clip below `folder`: clip (file stem), path, and what `describe` says.

        Raises NoDataError if there are no clips.
        """
        remedy = (
            f"No {self.name} clips under {{folder}}: `python3 -m speech_emotion download {self.folder}` downloads "
            f"them, or unzip {self.archive} into {{folder}}/{self.folder}."
        )
        return walk_clips(folder, self.describe, remedy)


_NEMO_SEXES = dict.fromkeys(("EB0", "IC0", "KD0", "MK0"), "female")  # from data.tsv
_NEMO_SEXES |= dict.fromkeys(("KS0", "MP0", "SM0", "TP0", "WR0"), "male")
NEMO = ForeignCorpus(
    name="nEMO",
    folder="nemo",
    archive="https://github.com/amu-cai/nEMO/archive/66de9999a8f2f605eb5f64841790aa5cb0877782.zip",
    n_clips=4481,
    space=1.2,
    stem=rf"(?P<speaker>{'|'.join(_NEMO_SEXES)})_(?P<emotion>[a-z]+)_(?P<sentence>\d+)",
    emotions={
        "anger": "angry", "fear": "fearful", "happiness": "happy", "neutral": "neutral", "sadness": "sad",
        "surprised": "surprised",
    },
    sex_of=_NEMO_SEXES.get,
)  # fmt: skip

_EMODB_SEXES = dict.fromkeys(("03", "10", "11", "12", "15"), "male")
_EMODB_SEXES |= dict.fromkeys(("08", "09", "13", "14", "16"), "female")
EMODB = ForeignCorpus(
    name="EmoDB",
    folder="emodb",
    archive="http://emodb.bilderbar.info/download/download.zip",
    n_clips=454,
    space=0.2,
    stem=rf"(?P<speaker>{'|'.join(_EMODB_SEXES)})(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])[a-z]",
    # By the first letter of the German word: Wut, Ekel, Angst, Freude, Trauer.
    emotions={"W": "angry", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"},
    sex_of=_EMODB_SEXES.get,
)
EMODB_WITH_BOREDOM = replace(EMODB, n_clips=535, emotions=EMODB.emotions | {"L": "bored"})  # Langeweile

URDU = ForeignCorpus(
    name="URDU",
    folder="urdu",
    archive="https://github.com/siddiquelatif/URDU-Dataset/archive/4b546d4e0fa36d1c86c53a281631b2ab7ce2fdec.zip",
    n_clips=400,
    space=0.2,
    stem=r"(?P<speaker>S[MF]\d+)_F\d+_(?P<emotion>[A-Z])\d+",
    emotions={"A": "angry", "H": "happy", "N": "neutral", "S": "sad"},
    sex_of=lambda speaker: {"M": "male", "F": "female"}[speaker[1]],
)
