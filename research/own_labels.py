"""Models for one's own labels, on EmoDB: seven emotions with boredom, trained on five speakers, tested on five.

One partition of the ten speakers is the README's, trained like train.py --labels, with its inner folds. Twenty more are
drawn at random and trained in the same way, without inner folds. Writes results/own-labels-emodb.csv, in about twenty
minutes of one core:

    python3 -m research.own_labels
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from research import REPOSITORY
from research.adaptation import answers, embed
from speech_emotion.corpora import emodb
from speech_emotion.evaluation.metrics import prediction_table, uar
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.training.any_voice import train_head
from speech_emotion.training.any_voice_head import HeadSettings
from speech_emotion.training.own_labels import read_training_data, train_own, windows_of

CPU = torch.device("cpu")
IN_README = ("03", "08", "09", "10", "11")
PARTITIONS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER")
    parser.add_argument("--cache", default=REPOSITORY / ".cache", metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "results", metavar="FOLDER")
    options = parser.parse_args()
    clips = emodb.clip_table(options.data, boredom=True)
    encoder = load_checkpoint(REPOSITORY / "model_any_voice.pt").network.encoder.float()
    tables = as_in_readme(clips, encoder, options.cache) + at_random(clips, encoder, options.cache)
    pd.concat(tables).to_csv(options.results / "own-labels-emodb.csv", index=False)


def as_in_readme(clips: pd.DataFrame, encoder, cache: Path) -> list[pd.DataFrame]:
    """The predictions of train.py --labels for its five held-out speakers, and of its model for the other five."""
    is_known = clips["speaker"].isin(IN_README)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "five.csv")
        clips[is_known].to_csv(table, index=False)
        model = train_own(read_training_data(table), encoder, "cpu", cache)
    inner = model.predictions.assign(clip=[Path(clip).stem for clip in model.predictions["clip"]])
    others = clips[~is_known]
    outer = prediction_table(others, Predictor(model.checkpoint, "cpu").predict(others["path"]))
    return [
        part[["clip", "emotion", "prediction"]].assign(partition=name, learned=" ".join(IN_README))
        for name, part in (("README, inner", inner), ("README", outer))
    ]


def at_random(clips: pd.DataFrame, encoder, cache: Path) -> list[pd.DataFrame]:
    """The predictions of models of random partitions for the speakers they were not trained on."""
    windows = windows_of(clips)
    settings = replace(HeadSettings(), with_nemo=False, temperature_folds=2, temperature_copies=1)
    labels = sorted(clips["emotion"].unique())
    rng, tables = np.random.default_rng(0), []
    for number in range(PARTITIONS):
        known = sorted(rng.choice(sorted(emodb.SPEAKERS), 5, replace=False))
        is_known = clips["speaker"].isin(known).to_numpy()
        predictor = Predictor(train_head(clips[is_known], [windows], labels, settings, encoder, CPU, cache), "cpu")
        if number == 0:
            recordings = embed(predictor, clips)  # the encoder is the same for all
        said = answers(predictor, [recordings[index] for index in np.flatnonzero(~is_known)])
        table = clips[~is_known][["clip", "emotion"]].assign(prediction=said)
        print(f"{number}: trained on {' '.join(known)}, UAR {uar(table):.4f}", flush=True)
        tables.append(table.assign(partition=number, learned=" ".join(known)))
    return tables


if __name__ == "__main__":
    main()
