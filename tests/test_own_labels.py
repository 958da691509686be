"""train.py --labels as its users run it: a model for their own emotions, from their own recordings."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import contents, read_rows, run_eval, run_train, small_any_voice

from speech_emotion.corpora.labels import AnnotationError
from speech_emotion.evaluation.metrics import accuracy, uar
from speech_emotion.models.checkpoint import load_checkpoint, save_checkpoint
from speech_emotion.outputs import locked
from speech_emotion.training.own_labels import RESULTS, read_training_table, train_own

SPEAKERS = ("ann", "bob", "cho")


def voice(emotion: str, speaker: str, seconds: float, seed: int) -> np.ndarray:
    """16 kHz; one emotion is low and slow, every other high and fast, and each speaker has a pitch."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch, rate = (120, 2) if emotion == "bored" else (320, 7)
    pitch *= 1 + 0.1 * SPEAKERS.index(speaker)
    sound = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 6)) * (1 + np.sin(2 * np.pi * rate * time))
    return 0.1 * sound + np.random.default_rng(seed).normal(scale=1e-3, size=len(time))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """An encoder that takes no time, ten recordings of two emotions by three speakers, one long, and their table."""
    home = tmp_path_factory.mktemp("home")
    save_checkpoint(home / "model_any_voice.pt", small_any_voice("ab"))
    (home / "own" / "clips").mkdir(parents=True)
    rows = [(f"clips/{number:02d}.wav", ("bored", "怒り")[number % 2], SPEAKERS[number % 3]) for number in range(20)]
    for number, (path, emotion, speaker) in enumerate(rows):
        soundfile.write(home / "own" / path, voice(emotion, speaker, 1.5 if number else 9, number), 16_000)
    pd.DataFrame(rows, columns=["path", "emotion", "speaker"]).to_csv(home / "own" / "mine.csv", index=False)
    return home


@pytest.fixture(scope="module")
def mine(home) -> tuple[Path, str]:
    """mine.pt, and what train.py said."""
    result = run_train(home, "--labels", "own/mine.csv", "--out", "mine.pt")
    assert result.returncode == 0 and "Warning" not in result.stderr, result.stderr
    return home / "mine.pt", result.stdout


def test_a_model_for_ones_own_emotions_is_measured_on_held_out_speakers(home, mine):
    path, said = mine
    folder = home / "mine-results"
    assert sorted(path.name for path in folder.iterdir()) == sorted(RESULTS)
    assert "20 recordings held out by speaker, in 3 parts in turn: accuracy " in said
    assert "(95 % intervals, by speaker)" in said and "model as it is" not in said, "that one knows neither label"
    assert (folder / "report.txt").read_text(encoding="utf-8") in said
    table = pd.read_csv(folder / "predictions.csv")
    assert sorted(table["clip"]) == [f"clips/{number:02d}.wav" for number in range(20)]
    assert list(table) == ["clip", "emotion", "prediction", "bored", "怒り", "speaker"]
    checkpoint = load_checkpoint(path)
    assert checkpoint.labels == ["bored", "怒り"] and checkpoint.split == {"name": "mine.csv", "test": []}
    assert checkpoint.metrics == pytest.approx({"accuracy": accuracy(table), "uar": uar(table)})


def test_it_classifies_adapts_and_is_measured_as_other_models_are(home, mine, tmp_path):
    arguments = ("--model", mine[0], "--adapt", "--timeline", "t.csv", "--all-sounds")  # they are no speech
    result = run_eval("--labels", home / "own" / "mine.csv", *arguments, cwd=tmp_path)
    assert result.returncode == 0 and "20 recordings have labels in" in result.stdout, result.stderr
    assert "accuracy 1.0000" in result.stdout
    long, *others = pd.read_csv(tmp_path / "t.csv").groupby("url").size()
    assert long == 3 and others == [1] * 19
    assert list(read_rows(tmp_path / "out.csv")[0]) == ["url", "emotion", "confidence", "bored", "怒り", "error"]


def clips_of(folder: Path, *emotions: str, known: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table of clips with these labels."""
    table = folder / "clips.csv"
    rows = [(f"own/clips/{number + 1:02d}.wav", emotion) for number, emotion in enumerate(emotions)]
    pd.DataFrame(rows, columns=["path", "emotion"]).to_csv(table, index=False)
    return read_training_table(table, list(known))


def test_two_clips_of_each_emotion_are_enough_and_what_cannot_be_used_is_left_out(home):
    soundfile.write(home / "own" / "clips" / "silent.wav", np.zeros(16_000), 16_000)
    (home / "own" / "clips" / "broken.wav").write_bytes(b"")
    clips = clips_of(home, "calm", "sad", "calm", "sad")
    bad = [clips.iloc[0].replace("own/clips/01.wav", f"{name}.wav") for name in ("silent", "broken")]
    for row in bad:
        row["path"] = str(home / "own" / "clips" / row["clip"])
    start = small_any_voice(["calm", "sad"])
    model = train_own(pd.concat([clips, pd.DataFrame(bad)], ignore_index=True), start, "cpu")
    assert model.report.startswith("left out: 2 of 6 recordings, which cannot be used: silent.wav: ")
    assert "4 recordings held out by file, in 2 parts in turn" in model.report
    assert "With 2 recordings of calm, one answer changes UAR by 0.250." in model.report
    with pytest.raises(AnnotationError, match=r"there is only one of sad \(left out: 1 of 4 recordings"):
        train_own(pd.concat([clips.iloc[:3], pd.DataFrame(bad[:1])], ignore_index=True), start, "cpu")


def test_the_model_as_it_is_stands_beside_the_taught_one(home):
    """The start answers right, for the labels that are asked for; teaching cannot help, and the report says so."""
    emotions = ["Happiness" if number % 2 else "neutral" for number in range(1, 13)]
    clips = clips_of(home, *emotions, known=("neutral", "calm", "happy"))
    assert {*clips["emotion"]} == {"happy", "neutral"}
    start = small_any_voice(["neutral", "calm", "happy", "sad"])
    taught = train_own(clips, replace(start, labels=[]), "cpu").checkpoint
    network = start.network
    network.perceptron = None
    network.settings = replace(network.settings, hidden=0)
    network.mean, network.deviation = taught.network.mean, taught.network.deviation
    known, nothing = taught.network.linear, torch.zeros(1, 128)  # of neutral and happy
    network.linear.weight.data = torch.cat([nothing, known.weight.data, nothing])  # a neutral clip is calm to it
    network.linear.bias.data = torch.tensor([-20.0, *known.bias.tolist(), 4.0])  # and sad is likelier than both
    report = train_own(clips, start, "cpu").report
    assert "UAR of the model as it is, if only these emotions can be answered: 1.0000; after teaching: " in report
    assert "Teaching did not help: on these recordings, the model as it is is at least as good." in report


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("", (), "bad.csv is empty"),
        ("path,emotion\n" + "clips/00.wav,sad\nclips/01.wav,sad\nclips/02.wav,=A1\nclips/03.wav,=A1\n", (),
         "'=A1' cannot be a label"),
        ("path,emotion\n" + "clips/00.wav,x\nclips/01.wav,x\nempty.wav,y\nsilent.wav,y\n", (),
         "left out: 2 of 4 recordings, which cannot be used: empty.wav: "),
        ("path,emotion\n" + "clips/00.wav,x\nclips/01.wav,x\nclips/02.wav,y\ns3://calls/a.wav,y\n", (),
         "training needs recordings on this machine"),
        (None, ("--start", "own/mine.csv"), "own/mine.csv is not a readable model file"),
        (None, ("--drop", "sad", "--split", "1"), "--labels does not take --drop sad --split 1"),
        (None, ("--out", "link.pt"), "link.pt is read by this run"),
        (None, ("--out", "model_any_voice.pt"), "model_any_voice.pt is read by this run"),
        (None, ("--labels", "own/report.txt", "--results", "own"), "own/report.txt is read by this run"),
        (None, ("--out", "own/report.txt", "--results", "own/"), "two of the files to write are the same: "),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_one_sentence(home, text, arguments, sentence):
    soundfile.write(home / "own" / "silent.wav", np.zeros(16_000), 16_000)
    (home / "own" / "empty.wav").write_bytes(b"")
    (home / "own" / "bad.csv").write_text(text or "")
    shutil.copy(home / "own" / "mine.csv", home / "own" / "report.txt")
    (home / "link.pt").unlink(missing_ok=True)
    (home / "link.pt").hardlink_to(home / "own" / "clips" / "00.wav")
    options = {"--labels": "own/mine.csv" if text is None else "own/bad.csv", "--out": "bad.pt"}
    given = [str(part) for option in options.items() for part in option if option[0] not in arguments]
    before, result = contents(home), run_train(home, *given, *arguments)
    assert result.returncode == 2 and sentence in result.stderr.splitlines()[-1]
    assert contents(home) == before


def test_two_trainings_do_not_write_one_model(home):
    for name in ("both.pt", "both-results/report.txt"):
        (home / name).parent.mkdir(exist_ok=True)
        with locked(home / f"{name}.lock.part", ""):
            (home / "both.pt.part").write_text("what the first one writes")
            result = run_train(home, "--labels", "own/mine.csv", "--out", "both.pt")
        assert result.returncode == 2
        sentence = f"{name} is being written by process {os.getpid()}; wait for it, or choose another path\n"
        assert result.stderr == f"train.py: {sentence}"
        assert (home / "both.pt.part").exists()
