"""A model for the user's own labels: a new head on the frozen encoder, tested on held-out recordings."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from speech_emotion.audio.buckets import is_url
from speech_emotion.audio.reading import AudioError
from speech_emotion.audio.resampling import stream_audio
from speech_emotion.audio.windows import RecordingWindows
from speech_emotion.corpora.labels import LabelsError, check_trainable, read_labels
from speech_emotion.corpora.ravdess import EMOTIONS, describe
from speech_emotion.corpora.spelling import spelling
from speech_emotion.corpora.splits import folds
from speech_emotion.evaluation.metrics import accuracy, prediction_table, uar
from speech_emotion.evaluation.plots import plot_confusion, plot_reliability, save_picture, use_style
from speech_emotion.evaluation.truth import findings, group_column
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.any_voice import WhisperEncoder
from speech_emotion.models.checkpoint import Checkpoint, check_labels, save_checkpoint
from speech_emotion.models.features import WhisperFeatures
from speech_emotion.models.network import choose_device
from speech_emotion.terminal import printable
from speech_emotion.training.any_voice import HeadSettings, train_head
from speech_emotion.training.runs import adapted_predictions

FEW = 500  # recordings; below, each is held out once, otherwise a fifth is held out
EMBEDDINGS = 10_000  # most windows and augmented copies together, unless there are more windows
RESULTS = ("predictions.csv", "predictions-adapted.csv", "report.txt", "confusion.png", "reliability.png")


@dataclass(frozen=True)
class TrainingData:
    """The training data, checked before anything is computed."""

    name: str  # file name of the table
    clips: pd.DataFrame  # clip, path, emotion, and speaker if there are several
    ravdess: pd.DataFrame | None  # RAVDESS's clips with the same labels

    @property
    def labels(self) -> list[str]:
        """The labels of RAVDESS in their order, then the others in alphabetical order."""
        own = set(self.clips["emotion"])
        return [label for label in EMOTIONS if label in own] + sorted(own - {*EMOTIONS})

    def __str__(self) -> str:
        others = f", with {len(self.ravdess)} clips of RAVDESS" if self.ravdess is not None else ""
        n_left_out = self.clips.attrs.get("n_without_emotion")
        left_out = f" ({n_left_out} without an emotion left out)" if n_left_out else ""
        return f"{self.name}: {len(self.clips)} recordings{left_out}, {len(self.labels)} labels{others}"


def read_training_data(file: str | Path, ravdess: pd.DataFrame | None = None) -> TrainingData:
    """Read the table of labels; `ravdess` are its clips, if they are to be used as well.

    Raises LabelsError for a table that cannot be used for training.
    """
    clips = read_labels(file)
    check_trainable(clips)
    try:
        check_labels(clips["emotion"].unique())
    except ValueError as error:
        raise LabelsError(f"{file}: {error}") from error
    if urls := [path for path in clips["path"] if is_url(path)]:
        raise LabelsError(f"{file} lists {urls[0]}: training needs recordings on this machine")
    if group_column(clips) == "clip":
        clips = clips.drop(columns="speaker", errors="ignore")
    if ravdess is not None:
        if known := [clip for clip in clips["clip"] if describe(Path(clip).stem)]:
            raise LabelsError(f"{file} contains recordings of RAVDESS, such as {known[0]}: leave out --with-ravdess")
        clips["emotion"] = clips["emotion"].map(spelling(EMOTIONS))
        ravdess = ravdess[ravdess["emotion"].isin(clips["emotion"])]
        if ravdess.empty:
            raise LabelsError(f"{file} has no label of RAVDESS ({', '.join(EMOTIONS)}): leave out --with-ravdess")
    return TrainingData(Path(file).name, clips, ravdess)


@dataclass(frozen=True)
class OwnModel:
    """A model trained on all recordings, and the predictions of models trained alike for held-out recordings."""

    checkpoint: Checkpoint
    report: str
    predictions: pd.DataFrame
    adapted: pd.DataFrame | None  # with each speaker's own statistics, if speakers are known

    def write(self, folder: str | Path, out: str | Path) -> None:
        """Write RESULTS to `folder`, then the model, each file atomically."""
        use_style()
        files = dict(zip(RESULTS, map(Path(folder).joinpath, RESULTS), strict=True))
        for name, table in (("predictions.csv", self.predictions), ("predictions-adapted.csv", self.adapted)):
            if table is not None:
                table.to_csv(f"{files[name]}.part", index=False, float_format="%.5f")
                Path(f"{files[name]}.part").replace(files[name])
        part = Path(f"{files['report.txt']}.part")
        part.write_text(self.report + "\n", encoding="utf-8")
        part.replace(files["report.txt"])
        save_picture(plot_confusion(self.predictions, "held-out recordings"), files["confusion.png"])
        save_picture(plot_reliability({"held-out recordings": self.predictions}), files["reliability.png"])
        save_checkpoint(out, self.checkpoint)


def train_own(
    data: TrainingData, encoder: WhisperEncoder, device: str, cache_dir: str | Path, seed: int = 0
) -> OwnModel:
    """Test on held-out recordings, then train on all.

    Speakers are held out if they are known, otherwise recordings. Raises LabelsError, before training starts, if
    recordings cannot be read; the message lists all of them.
    """
    windows = windows_of(data.clips)
    copies = min(HeadSettings.copies, max(0, EMBEDDINGS // len(windows) - 1))
    settings = replace(HeadSettings(), copies=copies, other_copies=1, with_nemo=False, seed=seed)
    corpora = [windows] if data.ravdess is None else [windows, data.ravdess]

    def trained(clips: pd.DataFrame) -> Checkpoint:
        return train_head(clips, corpora, data.labels, settings, encoder, choose_device(device), cache_dir)

    parts = list(folds(data.clips, seed))
    if len(data.clips) >= FEW:
        parts = parts[:1]
    tables, adapted = [], []
    for rest, held_out in parts:
        predictor = Predictor(trained(rest), device)
        tables.append(prediction_table(held_out, predictor.predict(held_out["path"])))
        if "speaker" in held_out:
            adapted.append(adapted_predictions(predictor, held_out))
    by = group_column(data.clips)
    predictions = _together(tables, data.clips)
    report = f"{len(predictions)} recordings held out by {by if by == 'speaker' else 'file'}, "
    report += f"in {len(parts)} parts in turn: " if len(parts) > 1 else "in one part: "
    report += findings(predictions, data.labels)
    if adapted:
        adapted = _together(adapted, data.clips)
        report += f"\nwith --adapt, each speaker alone: accuracy {accuracy(adapted):.4f}, UAR {uar(adapted):.4f}"
    checkpoint = trained(data.clips)
    checkpoint.split = {"name": data.name, "test": []}  # this model is trained on all recordings
    checkpoint.metrics = {"accuracy": accuracy(predictions), "uar": uar(predictions)}
    return OwnModel(checkpoint, report, predictions, adapted if len(adapted) else None)


def windows_of(clips: pd.DataFrame) -> pd.DataFrame:
    """A row per window of each clip, with the columns start and end in samples."""
    features = WhisperFeatures()

    def find(path: str) -> list[tuple[int, int]] | AudioError:
        try:
            windows = RecordingWindows(partial(stream_audio, path, features.sample_rate), features).find()
        except AudioError as error:
            return error
        return [(window.start, window.end) for window in windows]

    with ThreadPoolExecutor() as readers:
        found = list(readers.map(find, clips["path"]))
    failed = [
        f"{clip}: {error}" for clip, error in zip(clips["clip"], found, strict=True) if not isinstance(error, list)
    ]
    if failed:
        raise LabelsError(f"{len(failed)} of {len(clips)} recordings cannot be used: {printable('; '.join(failed))}")
    table = clips.assign(window=found).explode("window", ignore_index=True)
    table[["start", "end"]] = table.pop("window").tolist()
    return table


def _together(tables: list[pd.DataFrame], clips: pd.DataFrame) -> pd.DataFrame:
    """Concatenated prediction tables, with the speakers of the clips."""
    table = pd.concat(tables).sort_values("clip", ignore_index=True)
    return table.merge(clips[["clip", "speaker"]], on="clip") if "speaker" in clips else table
