"""train.py as its users run it, on the small data set: what it writes, and what it never overwrites."""

import contextlib
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, contents, run_train, write_noise

from speech_emotion.corpora.foreign import NEMO
from speech_emotion.corpora.ravdess import clip_table
from speech_emotion.evaluation.metrics import uar
from speech_emotion.models.any_voice import AnyVoiceSettings, WhisperEncoder
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.published import PUBLISHED
from speech_emotion.training.any_voice import AnyVoiceRecipe, encoder_of
from speech_emotion.training.cnn import EmotionCNNRecipe, TrainingSettings
from speech_emotion.training.runs import Outcome, Run

RESULTS = ("splits", "predictions", "histories")


@pytest.fixture(scope="module")
def home(tone_data, tmp_path_factory) -> Path:
    """A folder with the committed models and predictions, and the small data set."""
    home = tmp_path_factory.mktemp("home")
    for model in PUBLISHED:
        shutil.copy(REPOSITORY / model.file, home)
    (home / "data").symlink_to(tone_data)
    shutil.copytree(REPOSITORY / "results/predictions", home / "results/predictions")
    return home


@pytest.mark.parametrize(
    "arguments, name",
    [
        (("--drop", "angry"), "random7-split0-without-angry-partial-epochs1"),
        (("--fold", 0, "--seed", 3), "speaker8-fold0-partial-epochs1-seed3"),
    ],
)
def test_a_run_that_is_not_published_overwrites_nothing(home, tmp_path, arguments, name):
    before = contents(home)
    result = run_train(home, "--epochs", 1, *arguments, "--out", tmp_path / "model.pt")
    assert result.returncode == 0, result.stderr
    after = contents(home)
    assert {path: after.get(path) for path in before} == before
    written = {f"results/{kind}/{name}.csv" for kind in RESULTS} | {f"results/figures/runs/{name}.png"}
    assert set(after) - set(before) == written
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    predictions = pd.read_csv(home / "results" / "predictions" / f"{name}.csv")
    assert checkpoint.split == {"name": name, "test": sorted(predictions["clip"])}
    right = (predictions["emotion"] == predictions["prediction"]).mean()
    assert f"accuracy {right:.4f}" in result.stdout and checkpoint.metrics["accuracy"] == pytest.approx(right)


def test_the_network_for_strangers_learns_from_two_corpora_and_is_measured_on_actors_left_out(home, tmp_path):
    torch.manual_seed(0)
    encoder = WhisperEncoder(AnyVoiceSettings.n_blocks + 1, n_positions=200, width=64)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"model_state_dict": state}, tmp_path / "base.pt")  # as OpenAI's: more than is used, but narrow
    data = tmp_path / "data"
    data.mkdir()
    (data / "ravdess").symlink_to((home / "data").resolve())
    for seed, (speaker, emotion) in enumerate(product(("EB0", "KS0"), NEMO.emotions)):
        write_noise(data / "nemo" / f"{speaker}_{emotion}_1.wav", seed)
    arguments = ("--network", "any-voice", "--encoder", tmp_path / "base.pt", "--data", data)
    result = run_train(home, *arguments, "--without-nemo", "--out", tmp_path / "base.pt")
    assert result.returncode == 2 and "base.pt is read by this run" in result.stderr
    dropped = ("calm", "sad", "fearful", "disgust")  # so that fewer clips have to be embedded
    options = [option for emotion in dropped for option in ("--drop", emotion)]
    result = run_train(home, *arguments, "--fold", 0, *options, "--out", tmp_path / "model.pt")
    assert result.returncode == 0, result.stderr
    checkpoint, name = load_checkpoint(tmp_path / "model.pt"), f"any4-fold0-without-{'-'.join(dropped)}-partial"
    assert checkpoint.labels == ["neutral", "happy", "angry", "surprised"]
    listed = pd.read_csv(home / f"results/splits/{name}.csv").groupby("part")["clip"].agg(set)
    assert set(listed.index) == {"training", "test"} and {clip[-2:] for clip in listed["test"]} == {"02"}
    spoken = {f"{speaker}_{emotion}_1" for speaker, emotion in product(("EB0", "KS0"), NEMO.emotions)}
    assert spoken - listed["training"] == {"EB0_sadness_1", "KS0_sadness_1", "EB0_fear_1", "KS0_fear_1"}
    plain, adapted = (pd.read_csv(home / f"results/predictions/{name}{end}.csv") for end in ("", "-adapted"))
    assert list(plain["clip"]) == list(adapted["clip"]) and uar(adapted) > 0.9  # the emotion is the pitch
    assert checkpoint.split == {"name": name, "test": sorted(plain["clip"])}
    assert checkpoint.metrics["uar"] == pytest.approx(uar(plain))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--fold", 9), "a fold is a number from 0 to 4, not 9"),
        (("--split", -1), "a split is a number from 0 to 4294967295, not -1"),
        (("--out", "data"), "data is a folder; name a file"),
        (("--results", "model.pt"), "model.pt"),
        (("--out", "data/song_actors/Actor_01/03-02-01-01-01-01-01.flac"), ".flac is read by this run; name another"),
        (("--encoder", "base.pt", "--without-nemo"), "--network cnn does not take --encoder base.pt --without-nemo"),
        (("--schedule", "linear"), "schedule is 'linear', expected one of one_cycle, cosine_warm_restarts"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_the_first_epoch(home, arguments, sentence):
    before, result = contents(home), run_train(home, *arguments)
    assert result.returncode == 2 and result.stdout == ""
    *warnings, last = result.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert last.startswith("train.py: ") and sentence in last
    assert contents(home) == before


def test_a_damaged_test_clip_is_named_before_the_first_epoch(home, tmp_path):
    shutil.copytree(home / "data", tmp_path / "data")
    clips = clip_table(tmp_path / "data")
    damaged = Path(Run(EmotionCNNRecipe()).parts(clips)["test"]["path"].iloc[0])
    damaged.write_bytes(b"nothing")
    before, result = contents(home), run_train(home, "--data", tmp_path / "data")
    assert result.returncode == 2 and "epoch" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("train.py: ") and damaged.name in result.stderr
    assert contents(home) == before


def cnn_run(settings: TrainingSettings | None = None, **held_out) -> Run:
    return Run(EmotionCNNRecipe(settings or TrainingSettings()), **held_out)


def test_only_what_is_as_published_has_a_published_name():
    published = [cnn_run(), cnn_run(drop=("sad",)), Run(AnyVoiceRecipe(encoder_of()))]
    assert [(run.name, run.file) for run in published] == [(model.run, model.file) for model in PUBLISHED]
    control = cnn_run(TrainingSettings(epochs=30), shuffle_labels=True)
    assert control.name == "random8-split0-shuffled" and control.file is None
    cosine = cnn_run(TrainingSettings(schedule="cosine_warm_restarts"), drop=("sad",))
    assert cosine.name == "random7-split0-cosine_warm_restarts"
    spoken = cnn_run(fold=2, folds="emobox", spoken=True)
    assert spoken.name == "speaker8-emobox2-spoken"
    changed = [cnn_run(split=1), cnn_run(fold=0), cnn_run(drop=("angry",)), cnn_run(drop=("sad", "calm"))]
    changed += [cosine, control, spoken, cnn_run(fold=2, folds="emobox"), cnn_run(spoken=True), cnn_run(partial=True)]
    changed += [cnn_run(TrainingSettings(seed=3)), cnn_run(TrainingSettings(epochs=1))]
    assert not {run.name for run in changed} & {model.run for model in PUBLISHED}
    assert len({run.name for run in changed}) == len(changed)


def test_a_kill_while_a_run_is_written_leaves_each_file_as_it_was_or_whole(model, tone_data, tmp_path, monkeypatch):
    run = cnn_run(TrainingSettings(epochs=1))
    parts = run.parts(clip_table(tone_data))
    curves = [f"{part}_{measure}" for part in ("training", "validation") for measure in ("loss", "accuracy")]
    history = pd.DataFrame({curve: [0.5] for curve in curves})
    predictions = parts["test"][["clip", "emotion"]].assign(prediction="calm", **dict.fromkeys(run.labels, 0.125))
    checkpoint = load_checkpoint(model)
    old = Outcome(run, parts, checkpoint, history.assign(epoch=1), predictions)
    new = Outcome(run, parts, replace(checkpoint, temperature=2.0), history.assign(epoch=2), predictions.head(9))

    def wholes(outcome: Outcome) -> dict[str, bytes]:
        outcome.write(tmp_path / "results", tmp_path / "model.pt")
        return contents(tmp_path)

    news, olds = wholes(new), wholes(old)
    kills = [(Path, "replace", call) for call in range(5)] + [(pd.DataFrame, "to_csv", call) for call in range(3)]
    for owner, name, call in kills:
        original, calls = getattr(owner, name), iter(range(100))

        def killed(*arguments, original=original, calls=calls, call=call, **options):
            if next(calls) == call:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(owner, name, killed)
            new.write(tmp_path / "results", tmp_path / "model.pt")
        after = contents(tmp_path)
        for path in olds:
            assert after[path] in (olds[path], news[path]), path
