"""The any-voice recipe on the development fold, with variants of --adapt.

Fold 0 is the development fold: choices are made on its training actors. Here the actors of fold 1 validate, the other
fourteen and nEMO train; the actors of fold 0 itself are not used. Writes results/development.csv, in ten minutes of one
core once train.py --network any-voice has embedded the clips:

    python3 -m research.development
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import soundfile
import torch

from research import REPOSITORY
from research.adaptation import embed, measure
from research.robustness import conditions
from research.tables import folder_uar
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora import nemo, ravdess
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from speech_emotion.models.network import calibrated, choose_device
from speech_emotion.training.any_voice import train_head
from speech_emotion.training.any_voice_head import HeadSettings

RATE = 48_000
DISTORTED = ("babble, 10 dB",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER")
    parser.add_argument("--cache", default=REPOSITORY / ".cache", metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "results", metavar="FOLDER")
    parser.add_argument("--model", type=Path, metavar="FILE", help="save the trained model here, and reuse it")
    options = parser.parse_args()
    clips = ravdess.clip_table(options.data)
    inner = clips[~clips["actor"].isin(ACTOR_FOLDS[0])]
    is_validation = inner["actor"].isin(ACTOR_FOLDS[1])
    training, validation = inner[~is_validation], inner[is_validation]
    if options.model and options.model.exists():
        checkpoint = load_checkpoint(options.model)
    else:
        checkpoint = trained(training, [clips, nemo.clip_table(options.data)], options.cache)
        if options.model:
            save_checkpoint(options.model, checkpoint)
    spoken, sung = (validation[validation["channel"] == channel] for channel in ravdess.CHANNELS)
    predictor = Predictor(checkpoint, "cpu")
    tables = [compared(predictor, spoken, "speech"), compared(predictor, sung, "song")]
    babblers = training[training["channel"] == "speech"].sample(8, random_state=0)
    for condition in DISTORTED:
        with TemporaryDirectory() as folder:
            clips = distorted(spoken, babblers, condition, Path(folder))
            tables.append(compared(predictor, clips, f"speech, {condition}"))
    table = pd.concat(tables)
    table.to_csv(options.results / "development.csv", index=False, float_format="%.4f")
    print(table.round(3).to_string(index=False))


def trained(training: pd.DataFrame, corpora: list[pd.DataFrame], cache: Path) -> Checkpoint:
    settings = replace(HeadSettings(), temperature_folds=2, temperature_copies=1)  # no prediction depends on it
    encoder = load_checkpoint(REPOSITORY / "model_any_voice.pt").network.encoder.float()
    return train_head(training, corpora, list(ravdess.EMOTIONS), settings, encoder, choose_device("auto"), cache)


def compared(predictor: Predictor, clips: pd.DataFrame, name: str) -> pd.DataFrame:
    """UAR by kind of folder, a column per variant."""
    columns, embedded = {}, embed(predictor, clips)
    for safeguard, listen in SAFEGUARDS.items():
        folders = measure(predictor, clips, listen=listen, embedded=embedded).groupby("folder", sort=False)
        columns.setdefault("plain", folders.apply(folder_uar, answers="plain", include_groups=False))
        columns[safeguard] = folders.apply(folder_uar, include_groups=False)
    table = pd.DataFrame(columns).reset_index()
    table.insert(0, "clips", name)
    return table


def distorted(clips: pd.DataFrame, babblers: pd.DataFrame, condition: str, folder: Path) -> pd.DataFrame:
    """The clips under a simulated recording condition, written to `folder`."""
    voices = [load_audio(path, RATE).numpy() for path in babblers["path"]]
    change = conditions(voices, RATE)[condition]
    paths = [folder / f"{clip}.wav" for clip in clips["clip"]]
    for path, source in zip(paths, clips["path"], strict=True):
        soundfile.write(path, change(load_audio(source, RATE).numpy(), RATE), RATE)
    return clips.assign(path=list(map(str, paths)))


def shrunk(predictor: Predictor, embeddings: torch.Tensor, shrinkage: float) -> torch.Tensor:
    """A larger weight of the training statistics."""
    network = copy.copy(predictor.network)
    network.settings = replace(network.settings, shrinkage=shrinkage)
    return network.statistics(embeddings)


def unless_one_sided(predictor: Predictor, embeddings: torch.Tensor, share: float) -> torch.Tensor | None:
    """None, so that the folder is not adapted, if one emotion has that share of the probability without --adapt."""
    if plain(predictor, embeddings).mean(dim=0).max() >= share:
        return None
    return predictor.network.statistics(embeddings)


def unless_alike(predictor: Predictor, embeddings: torch.Tensor, share: float) -> torch.Tensor | None:
    """The same for the share of windows with the same most probable emotion."""
    answers = plain(predictor, embeddings).argmax(dim=1)
    if answers.bincount().max() >= share * len(answers):
        return None
    return predictor.network.statistics(embeddings)


def balanced(predictor: Predictor, embeddings: torch.Tensor) -> torch.Tensor:
    """Statistics in which every emotion has the same weight, by the predictions without adaptation."""
    probabilities = plain(predictor, embeddings)
    weights = (probabilities / probabilities.sum(dim=0)).sum(dim=1)
    weights *= len(weights) / weights.sum()
    network, n = predictor.network, len(embeddings)
    shrinkage = network.settings.shrinkage
    mean = (weights @ embeddings + shrinkage * network.mean) / (n + shrinkage)
    of_training = network.mean.square() + network.deviation.square()
    square = (weights @ embeddings.square() + shrinkage * of_training) / (n + shrinkage)
    return torch.stack([mean, (square - mean.square()).clamp(min=1e-6).sqrt()])


def plain(predictor: Predictor, embeddings: torch.Tensor) -> torch.Tensor:
    """(windows, D) → (windows, K), the probabilities without adaptation."""
    return calibrated(predictor.network.classify(embeddings), predictor.temperature)


SAFEGUARDS: dict[str, Callable] = {
    "always": partial(shrunk, shrinkage=10),
    **{f"shrinkage {n}": partial(shrunk, shrinkage=n) for n in (20, 40)},
    **{f"unless {share} is one emotion": partial(unless_one_sided, share=share) for share in (0.4, 0.5, 0.6)},
    **{f"unless {share} sound alike": partial(unless_alike, share=share) for share in (0.5, 0.6)},
    "balanced": balanced,
}

if __name__ == "__main__":
    main()
