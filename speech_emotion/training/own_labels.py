"""A model for the user's own labels: a trained classifier, moved towards labelled recordings, tested on others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from speech_emotion.audio.files import is_url
from speech_emotion.corpora.labels import AnnotationError, check_trainable, read_labels, spelling
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.corpora.splits import folds
from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, fit_temperature, prediction_table, uar
from speech_emotion.evaluation.plots import plot_confusion, plot_reliability, save_picture, use_style
from speech_emotion.evaluation.truth import findings, group_column
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import Recording
from speech_emotion.models.any_voice import AnyVoice
from speech_emotion.models.checkpoint import Checkpoint, check_labels, load_checkpoint, save_checkpoint
from speech_emotion.outputs import replaced
from speech_emotion.terminal import printable, some
from speech_emotion.training.any_voice_head import Corpus, TeachingSettings, taught
from speech_emotion.training.cnn import target_indices

RESULTS = ("predictions.csv", "report.txt", "confusion.png", "reliability.png")
_TEMPERATURE_WEIGHT = 20  # recordings that the temperature of the model at the start counts as


def start_of(name: str | Path, committed: str | Path) -> Checkpoint:
    """The model to start from; "none" is the encoder of `committed` without a classifier.

    Raises CheckpointError for a file that is no model, and ValueError for a network of another kind.
    """
    checkpoint = load_checkpoint(committed if str(name) == "none" else name)
    if not isinstance(checkpoint.network, AnyVoice):
        raise ValueError(f"{name} is no model to start from: that is model_any_voice.pt, or one trained from it")
    return replace(checkpoint, labels=[], temperature=1.0) if str(name) == "none" else checkpoint


def read_training_table(file: str | Path, labels: list[str]) -> pd.DataFrame:
    """The table of labels, in the spelling of a model with `labels`: clip, path, emotion, speaker if there are several.

    Raises AnnotationError for a table that cannot be used for training.
    """
    clips = read_labels(file)
    clips["emotion"] = clips["emotion"].map(spelling(labels))
    check_trainable(clips)
    try:
        check_labels(clips["emotion"].unique())
    except ValueError as error:
        raise AnnotationError(f"{file}: {error}") from error
    if urls := [path for path in clips["path"] if is_url(path)]:
        raise AnnotationError(f"{file} lists {urls[0]}: training needs recordings on this machine")
    return clips if group_column(clips) == "speaker" else clips.drop(columns="speaker", errors="ignore")


@dataclass(frozen=True)
class OwnModel:
    """A model trained on all recordings, and the predictions of models trained alike for held-out recordings."""

    checkpoint: Checkpoint
    report: str
    predictions: pd.DataFrame

    def write(self, folder: str | Path, out: str | Path) -> None:
        """Write RESULTS to `folder`, then the model, each file atomically."""
        use_style()
        predictions, report, confusion, reliability = map(Path(folder).joinpath, RESULTS)
        texts = {predictions: self.predictions.to_csv(index=False, float_format="%.5f"), report: self.report + "\n"}
        for path, text in texts.items():
            with replaced(path) as part:
                part.write_text(text, encoding="utf-8")
        save_picture(plot_confusion(self.predictions, "held-out recordings"), confusion)
        save_picture(plot_reliability({"held-out recordings": self.predictions}), reliability)
        save_checkpoint(out, self.checkpoint)


def train_own(
    clips: pd.DataFrame,
    start: Checkpoint,
    device: str = "auto",
    seed: int = 0,
    recordings: Sequence[Recording] | None = None,
) -> OwnModel:
    """Test on held-out recordings, then train on all, from the classifier of `start`.

    Speakers are held out if they are known, otherwise recordings. Each recording is embedded once, if it is not given
    embedded. Those that cannot be read or are silent are left out; raises AnnotationError if too few remain.
    """
    settings = TeachingSettings()
    if recordings is None:
        embedded = Predictor(start, device, speech_only=False).embedded(clips["path"])
        recordings = list(tqdm(embedded, "embedding recordings", len(clips)))
    clips, left_out = usable(clips.assign(recording=recordings))
    usual, present = start.labels or EMOTIONS, {*clips["emotion"]}
    labels = [label for label in usual if label in present] + sorted(present - {*usual})
    networks, logits, parts = [], [], list(folds(clips, seed))
    for rest, held_out in parts:
        network, corpus = taught(start, corpus_of(rest), labels, settings), corpus_of(held_out)
        with torch.inference_mode():
            logits.append((network.classify(corpus.embeddings[0]), target_indices(corpus.emotions, labels)))
        networks.append(network)
    tables = []
    for number, (network, (_, held_out)) in enumerate(zip(networks, parts, strict=True)):
        temperature = temperature_of(logits[:number] + logits[number + 1 :], start)
        tables.append(predictions_of(Checkpoint(network, labels, temperature), held_out, device))
    predictions = pd.concat(tables).sort_values("clip", ignore_index=True)
    if "speaker" in clips:
        predictions = predictions.merge(clips[["clip", "speaker"]], on="clip")
    metrics = {"accuracy": accuracy(predictions), "uar": uar(predictions)}
    network = taught(start, corpus_of(clips), labels, settings)
    checkpoint = Checkpoint(network, labels, temperature_of(logits, start), asdict(settings), metrics=metrics)
    by = "speaker" if "speaker" in clips else "file"
    held_out = f"{len(clips)} recordings held out by {by}, in {len(parts)} parts in turn: "
    report = [*filter(None, [left_out]), held_out + findings(predictions, labels)]
    if len(shared := [label for label in labels if label in start.labels]) > 1:
        report.append(comparison(predictions, predictions_of(start, clips, device, shared)))
    return OwnModel(checkpoint, "\n".join(report), predictions)


def usable(clips: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The clips whose `recording` has windows, and a sentence on the others."""
    is_usable = np.array([bool(recording.embedded) for recording in clips["recording"]])
    if is_usable.all():
        return clips, ""
    why = some(f"{clip.clip}: {clip.recording.error}" for clip in clips[~is_usable].itertuples())
    sentence = f"left out: {(~is_usable).sum()} of {len(clips)} recordings, which cannot be used: {printable(why)}"
    if not is_usable.any():
        raise AnnotationError(sentence)
    try:
        check_trainable(clips[is_usable])
    except AnnotationError as error:
        raise AnnotationError(f"{error} ({sentence})") from error
    return clips[is_usable], sentence


def corpus_of(clips: pd.DataFrame) -> Corpus:
    """The embedded windows of recordings."""
    windows = clips.assign(x=[[x for _, x in recording.embedded] for recording in clips["recording"]]).explode("x")
    x = torch.stack(windows["x"].tolist()).cpu()[None]
    return Corpus(x, windows["emotion"].to_numpy(), windows["clip"].to_numpy(str), None)


def temperature_of(held_out: list[tuple[torch.Tensor, torch.Tensor]], start: Checkpoint) -> float:
    """The temperature of held-out logits and targets, shrunk towards that of `start` if they are few."""
    if not held_out:
        return start.temperature
    logits, targets = map(torch.cat, zip(*held_out, strict=True))
    share = len(targets) / (len(targets) + _TEMPERATURE_WEIGHT)
    return fit_temperature(logits, targets) ** share * start.temperature ** (1 - share)


def predictions_of(
    checkpoint: Checkpoint, clips: pd.DataFrame, device: str, emotions: Sequence[str] = ()
) -> pd.DataFrame:
    """The predictions of a model for embedded recordings, limited to `emotions`, if any."""
    predictor = Predictor(checkpoint, device, speech_only=False, emotions=emotions)
    return prediction_table(clips, (predictor.answer(recording).rows[0] for recording in clips["recording"]))


def comparison(taught: pd.DataFrame, plain: pd.DataFrame) -> str:
    """Sentences: the model as it is, and the taught one, on the same recordings."""

    def gain(table: pd.DataFrame, weights: np.ndarray | None = None) -> float | np.ndarray:
        return uar(table, weights) - uar(table.assign(prediction=plain["prediction"]), weights)

    difference, (low, high) = gain(taught), bootstrap_interval(taught, gain, group_column(taught))
    counts = taught["emotion"].value_counts().sort_index()
    rarest, step = counts.idxmin(), 1 / len(counts) / counts.min()
    verdict = "Teaching helped."
    if difference <= 0:
        verdict = "Teaching did not help: on these recordings, the model as it is is at least as good."
    elif low <= 0:
        verdict = "Teaching may have helped, but this may also be chance; more recordings would tell."
    return (
        f"\nUAR of the model as it is, if only these emotions can be answered: {uar(plain):.4f}; after teaching: "
        f"{uar(taught):.4f}, a difference of {difference:+.4f} ({low:+.4f} to {high:+.4f}).\n{verdict}\n"
        f"With {counts[rarest]} recordings of {rarest}, one answer changes UAR by {step:.3f}."
    )
