"""How --adapt changes the predictions for realistic folders: few recordings of one voice, or mostly one emotion.

    python3 -m research.adaptation                   # EmoDB: results/adaptation-emodb.csv; with URDU, folders of all
                                                     # speakers at once: results/adaptation-together.csv
    python3 -m research.adaptation --folds FOLDER    # also RAVDESS's unseen actors: results/adaptation-ravdess.csv

FOLDER holds any8-fold0.pt to any8-fold4.pt, from train.py --network any-voice --fold N --out FILE. D: size of the
embedding.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from research import REPOSITORY, parser_of
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.foreign import EMODB, URDU
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.evaluation.metrics import prediction_table, uar
from speech_emotion.inference.adaptation import GROUPS, Voices
from speech_emotion.inference.predictor import Predictor, Statistics
from speech_emotion.inference.recording import NOBODY, Recording
from speech_emotion.models.network import calibrated

SIZES = (5, 10, 20, 40)  # recordings, drawn from all of a speaker
ALL = "all recordings"
SHARES = (0.5, 0.8, 1.0)  # of one emotion in a folder
_LOPSIDED = 10  # recordings in such a folder; fewer if the speaker has fewer of the emotion
_ANSWERS = 200  # predictions per speaker and size; determines the number of folders
_DRAWS = 5  # folders per emotion and share


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="the five models tested on unseen actors")
    options = parser.parse_args()
    if options.folds:
        table = measure_folds(options.folds, ravdess.clip_table(options.data), options.device)
        table.to_csv(options.results / "adaptation-ravdess.csv", index=False)
    predictor = Predictor(REPOSITORY / "model_any_voice.pt", options.device, speech_only=False)
    table = measure(predictor, EMODB.clip_table(options.data), {"calm": "neutral"})
    table.to_csv(options.results / "adaptation-emodb.csv", index=False)
    corpora = {"EmoDB": EMODB.clip_table(options.data), "URDU": URDU.clip_table(options.data)}
    tables = [measure_together(predictor, clips, corpus) for corpus, clips in corpora.items()]
    pd.concat(tables).to_csv(options.results / "adaptation-together.csv", index=False, float_format="%.4f")


def sizes(n: int) -> str:
    return f"{n} recordings"


def shares(share: float) -> str:
    return f"{share:.0%} one emotion".replace("%", " %")


def folders(emotions: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Draw folders from one speaker's recordings, given their emotions: (kind of folder, indices of recordings)."""
    n = len(emotions)
    for size in SIZES:
        for _ in range(_ANSWERS // size):
            yield sizes(size), rng.choice(n, min(size, n), replace=False)
    yield ALL, np.arange(n)
    for share in SHARES:
        for emotion in np.unique(emotions):
            for _ in range(_DRAWS):
                same = rng.permutation(np.flatnonzero(emotions == emotion))
                different = rng.permutation(np.flatnonzero(emotions != emotion))
                same = same[: round(share * _LOPSIDED)]
                yield shares(share), np.concatenate([same, different[: round(len(same) * (1 - share) / share)]])


def embed(predictor: Predictor, clips: pd.DataFrame) -> list[Recording]:
    """The clips with their embeddings in `embedded`. Raises ValueError for a clip that cannot be classified."""
    recordings = list(predictor.embedded(clips["path"]))
    if failed := [recording for recording in recordings if not recording.embeddings()]:
        raise ValueError(f"{failed[0].path}: {failed[0].error or NOBODY}")
    return recordings


@torch.inference_mode()
def answers(predictor: Predictor, recordings: list[Recording], statistics: torch.Tensor | None = None) -> list[str]:
    """The predictions of eval.py for recordings with embeddings, with `statistics` (2, D) if given."""
    windows = torch.stack([embedding for recording in recordings for _, embedding in recording.embedded])
    if statistics is not None:
        statistics = statistics.expand(len(windows), -1, -1)
    probabilities = calibrated(predictor.network.classify(windows, statistics), predictor.temperature)
    said, rows = [], iter(probabilities.tolist())
    for recording in recordings:
        classified = [(window, next(rows)) for window, _ in recording.embedded]
        said.append(recording.answer(predictor.labels, classified).rows[0]["emotion"])
    return said


@torch.inference_mode()
def measure(predictor: Predictor, clips: pd.DataFrame, joined: dict[str, str] | None = None) -> pd.DataFrame:
    """The number of correct predictions by kind of folder, without and with the folder's own statistics.

    Columns: folder, speaker, emotion, recordings, plain, adapted; the last three are counts over all draws. `joined`
    maps predictions to others that they count as. Raises ValueError for a clip that cannot be classified.
    """
    joined = joined or {}
    embedded = embed(predictor, clips)

    def said(recordings: list[Recording], statistics: torch.Tensor | None = None) -> np.ndarray:
        return np.array([joined.get(emotion, emotion) for emotion in answers(predictor, recordings, statistics)])

    rows = []
    for speaker in np.unique(clips["speaker"]):
        rng = np.random.default_rng(0)
        spoken = np.flatnonzero(clips["speaker"] == speaker)
        emotions = clips["emotion"].to_numpy()[spoken]
        plain = said([embedded[number] for number in spoken])
        for kind, chosen in folders(emotions, rng):
            recordings = [embedded[spoken[number]] for number in chosen]
            voices = Voices(predictor)
            voices.hear("", {0: torch.cat([recording.embeddings()[0] for recording in recordings])})
            adapted = said(recordings, voices.statistics()("").to(predictor.device))
            given = {"emotion": emotions[chosen], "plain": plain[chosen] == emotions[chosen]}
            given["adapted"] = adapted == emotions[chosen]
            rows.append(pd.DataFrame({"folder": kind, "speaker": speaker, **given}))
    return (
        pd.concat(rows)
        .assign(recordings=1)
        .groupby(["folder", "speaker", "emotion"], sort=False)[["recordings", "plain", "adapted"]]
        .sum()
        .reset_index()
    )


def measure_folds(folder: str | Path, clips: pd.DataFrame, device: str) -> pd.DataFrame:
    """`measure` for RAVDESS's speech: any8-foldN.pt in `folder` is tested on the actors held out from it."""
    tables = []
    for fold, actors in enumerate(ACTOR_FOLDS):
        unseen = clips[(clips["channel"] == "speech") & clips["actor"].isin(actors)]
        tables.append(measure(Predictor(Path(folder, f"any8-fold{fold}.pt"), device, speech_only=False), unseen))
    return pd.concat(tables)


def skewed(emotions: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The indices of a speaker's recordings in folders as people have them, by kind."""
    kinds = rng.permutation(np.unique(emotions))
    mixed = rng.permutation(len(emotions))
    first = mixed[emotions[mixed] == kinds[0]]
    rest = mixed[emotions[mixed] != kinds[0]]
    return {
        ALL: mixed,
        "two emotions, 10 recordings": mixed[np.isin(emotions[mixed], kinds[:2])][:10],
        "one emotion, 8 recordings": first[:8],
        "three quarters one emotion, 20 recordings": np.r_[first[:15], rest[: round(len(first[:15]) / 3)]],
    }


def measure_together(predictor: Predictor, clips: pd.DataFrame, corpus: str) -> pd.DataFrame:
    """UAR without --adapt, with it, and with --adapt folder, where every speaker has a folder of one kind.

    Only the corpus's emotions are answered. Columns: corpus, folder, draw, plain, together, by folder.
    """
    predictor = predictor.for_emotions(sorted(clips["emotion"].unique()))
    clips = clips.assign(recording=embed(predictor, clips))
    groups = {"together": GROUPS["all"], "by folder": dict(zip(clips["path"], clips["speaker"], strict=True)).get}
    rows = []
    for draw in range(_DRAWS):
        rng = np.random.default_rng(draw)
        chosen: dict[str, list[pd.DataFrame]] = {}
        for _, spoken in clips.groupby("speaker"):
            for kind, places in skewed(spoken["emotion"].to_numpy(), rng).items():
                if draw == 0 or kind != ALL:
                    chosen.setdefault(kind, []).append(spoken.iloc[places])
        for kind, folders_of_kind in chosen.items():
            table = pd.concat(folders_of_kind)
            scores = {"plain": _uar(predictor, table, None)}
            for name, group_of in groups.items():
                voices = Voices(predictor, group_of)
                for recording in table["recording"]:
                    voices.hear(recording.path, recording.embeddings())
                scores[name] = _uar(predictor, table, voices.statistics())
            rows.append({"corpus": corpus, "folder": kind, "draw": draw, **scores})
    return pd.DataFrame(rows)


def _uar(predictor: Predictor, clips: pd.DataFrame, statistics: Statistics | None) -> float:
    rows = (predictor.answer(recording, statistics).rows[0] for recording in clips["recording"])
    return uar(prediction_table(clips, rows))


if __name__ == "__main__":
    main()
