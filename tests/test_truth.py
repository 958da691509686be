"""How often a model is right by the user's own table, and whether another is better: real processes, real files."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import REPOSITORY, call_main, read_rows, run_eval, write_noise
from scipy.stats import binom, binomtest
from sklearn.metrics import classification_report, confusion_matrix

from speech_emotion.commands import compare
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.evaluation.metrics import accuracy, uar
from speech_emotion.evaluation.truth import Evaluation, LabelTable, RavdessNames, findings
from speech_emotion.models.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> Path:
    """calls/0.wav to 9.wav, one of them broken, and a table beside the folder."""
    home = tmp_path_factory.mktemp("calls")
    for number in range(9):
        write_noise(home / "calls" / f"{number}.wav", number)
    (home / "calls" / "9.wav").write_text("this is not audio")
    emotions = ["happy", "sad", "calm", "bored", "neutral", "happy", "angry", "neutral"]
    rows = [f"calls/{number}.wav,{emotion},{number % 3}" for number, emotion in enumerate(emotions)]
    (home / "truth.csv").write_text("\n".join(["path,emotion,speaker", *rows, "calls/9.wav,sad,1\n"]))
    return home


def test_eval_says_how_often_it_is_right_by_a_table(calls, model, tmp_path):
    """From another folder: the paths of the table are its own."""
    arguments = (calls / "calls", "--model", model, "--labels", calls / "truth.csv", "--map", "calm=neutral")
    result = run_eval(*arguments, "--plot", "a.svg", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    said = {int(Path(row["url"]).stem): row["emotion"] for row in read_rows(tmp_path / "out.csv")}
    truth = {0: "happy", 1: "sad", 2: "neutral", 4: "neutral", 5: "happy", 6: "angry", 7: "neutral"}
    predictions = {
        "clip": [*truth],
        "speaker": [number % 3 for number in truth],
        "emotion": [*truth.values()],
        "prediction": ["neutral" if said[number] == "calm" else said[number] for number in truth],
        "confidence": [0.5] * len(truth),
    }
    first, _, *others = findings(predictions, [emotion for emotion in EMOTIONS if emotion != "calm"]).splitlines()
    assert f"7 recordings have labels in {calls}/truth.csv: {first}\n(95 % intervals, by speaker); cal" in result.stdout
    assert "\n".join(others) in result.stdout
    assert "left out: 1 with a label that the model does not know (bored 1)" in result.stdout
    assert "left out: 1 with an error" in result.stdout
    assert "left out: 1 not among the labels" in result.stdout
    svg = (tmp_path / "a.svg").read_text()
    assert f"labels in {calls}/truth.csv" in svg and "accuracy, 95 % interval" in svg


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["calls", "--labels", "nowhere.csv"], "cannot read nowhere.csv: No such file or directory"),
        (["calls", "--labels", "calls/0.wav"], "calls/0.wav is not in UTF-8 or UTF-16"),
        (["calls/8.wav", "--labels", "truth.csv"], "none of the recordings is among the labels in truth.csv"),
        (
            ["calls/3.wav", "--labels", "truth.csv"],
            "(bored); to count them, add --map bored=LABEL, where LABEL is one of neutral, calm",
        ),
        (["calls", "--labels", "truth.csv", "--map", "clam=neutral"], "--map names clam, found neither in the model"),
        (["calls", "--map", "calm"], "calm is not of the form LABEL=LABEL"),
        (["calls", "--map", "calm=sad", "calm=happy"], "--map counts calm both as sad and as happy"),
        (["--labels", "gone.csv"], "1 of 1 recordings in gone.csv does not exist beside it or in"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence_before_anything_is_classified(calls, model, arguments, sentence):
    (calls / "gone.csv").write_text("path,emotion\ngone.wav,sad\n")
    before = sorted(calls.iterdir())
    result = run_eval(*arguments, "--model", model, cwd=calls)
    assert result.returncode == 2 and sentence in result.stderr and result.stderr.count("\n") == 1
    assert sorted(calls.iterdir()) == before


def test_labels_are_joined_with_their_probabilities_and_a_file_is_found_under_another_name(tmp_path):
    soundfile.write(tmp_path / "1.wav", np.zeros(10), 16_000)
    (tmp_path / "t.csv").write_text("path,emotion\n1.wav,fine\ns3://calls/a.wav,fine\n")
    evaluation = Evaluation(LabelTable(tmp_path / "t.csv"), ["calm", "sad", "neutral"], ["calm=fine", "neutral=fine"])
    row = {"emotion": "calm", "confidence": 0.4, "calm": 0.4, "sad": 0.3, "neutral": 0.3, "error": ""}
    for url in ("s3://calls/a.wav", f"{tmp_path}/./1.wav", "elsewhere.wav"):
        evaluation.add({"url": url, **row})
    assert evaluation.labels == ["fine", "sad"] and evaluation.n_unlabelled == 1
    table = evaluation.table()
    assert table[["emotion", "prediction"]].values.tolist() == [["fine", "fine"]] * 2
    assert table["confidence"].tolist() == pytest.approx([0.7, 0.7])
    assert RavdessNames().find("x/03-01-06-01-02-01-12.wav") == ("03-01-06-01-02-01-12", "fearful", "12")


def test_labels_are_known_in_other_forms_and_most_that_are_not_get_a_suggestion(calls, model, tmp_path):
    labels = ["Happiness", "SAD", "hapy", "Angri", "very cross", "very cross"]
    rows = [f"{calls}/calls/{number}.wav;{label}" for number, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["file;label", *rows]), encoding="utf-16")
    result = run_eval("--labels", "t.csv", "--model", model, cwd=tmp_path)
    assert result.returncode == 0 and "2 recordings have labels in t.csv" in result.stdout
    assert "left out: 4 with a label that the model does not know (very cross 2, hapy 1, Angri 1)" in result.stdout
    assert (
        "warning: the model does not know the labels of 4 of 6 recordings (very cross, hapy, Angri); to count "
        "them, add --map 'very cross=LABEL' hapy=LABEL Angri=LABEL, where LABEL is one of neutral, calm, happy"
    ) in result.stderr
    joins = ("--map", "VERY CROSS=Angry", "hapy=happy", "Angri=angry")
    result = run_eval("--labels", "t.csv", "--model", model, *joins, cwd=tmp_path)
    assert "6 recordings have labels in t.csv" in result.stdout and "warning" not in result.stderr


def test_a_missing_recording_is_named_and_the_others_are_judged(calls, model, tmp_path):
    rows = [f"{calls}/calls/{number}.wav,sad" for number in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["path,emotion", "gone.wav,sad", *rows, "later.wav,", ","]))
    result = run_eval("--labels", "t.csv", "--model", model, cwd=tmp_path)
    assert result.returncode == 1 and "3 recordings have labels in t.csv: accuracy" in result.stdout
    assert "left out: 1 of 4 recordings in t.csv does not exist " in result.stdout and ": gone.wav\n" in result.stdout
    assert "left out: 1 without an emotion among the labels in t.csv\n" in result.stdout
    assert "Warning" not in result.stderr  # there is a single label


@pytest.mark.parametrize("part", ["all", "training"])
def test_clips_that_the_model_was_trained_on_are_not_counted_as_test_clips(tone_data, tmp_path, part):
    model = REPOSITORY / "model.pt"
    test_clips = {*load_checkpoint(model).split["test"]}
    paths = sorted((tone_data / "song_actors" / "Actor_01").iterdir())
    if part == "training":
        paths = [path for path in paths if path.stem not in test_clips]
    result = run_eval(*paths, "--model", model, cwd=tmp_path)
    rows = read_rows(tmp_path / "out.csv")
    table = pd.DataFrame({"clip": [Path(row["url"]).stem for row in rows], "confidence": 0.5})
    table["emotion"] = [EMOTIONS[int(clip.split("-")[2]) - 1] for clip in table["clip"]]
    table["prediction"] = [row["emotion"] for row in rows]
    seen, test = table[~table["clip"].isin(test_clips)], table[table["clip"].isin(test_clips)]
    head = f"{len(table)} recordings have RAVDESS names; the model was trained on {len(seen)} of them"
    if part == "training":
        head += ": "
    else:
        head += f" (accuracy {accuracy(seen):.4f}, UAR {uar(seen):.4f})\n{len(test)} are its test clips: "
    first, _, *others = findings(seen if part == "training" else test, list(EMOTIONS)).splitlines()
    assert f"{head}{first}\n" in result.stdout and "\n".join(others) in result.stdout


@pytest.mark.parametrize(("right", "n"), [(1, 1), (0, 3), (19, 20)])
def test_intervals_claim_no_more_than_the_clips_allow(right, n):
    table = {"clip": range(n), "emotion": ["sad"] * n, "prediction": ["sad"] * right + ["calm"] * (n - right)}
    said = findings(table | {"confidence": [0.5] * n}, ["sad", "calm"])
    low, high = binomtest(right, n).proportion_ci(method="wilson")
    assert said.startswith(f"accuracy {right / n:.4f} ({low:.4f} to {high:.4f}), UAR {right / n:.4f}")
    assert said.splitlines()[0].count("(") == (2 if n >= 10 else 1)


def test_the_numbers_of_each_emotion_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = ["a", "b", "c", "d"]
    table = pd.DataFrame({"clip": range(60), "emotion": rng.choice(labels[:3], 60), "confidence": 0.5})
    table["prediction"] = rng.choice([labels[0], *labels[2:]], 60)  # b is never said, d is never true
    said = findings(table, labels)
    report = classification_report(table["emotion"], table["prediction"], output_dict=True, zero_division=0)
    for label in labels:
        precision, recall, n = (report[label][name] for name in ("precision", "recall", "support"))
        precision, recall = ("-" if label == "b" else f"{precision:.3f}"), ("-" if label == "d" else f"{recall:.3f}")
        assert re.search(rf"^{label} +{precision} +{recall} +{n:.0f}$", said, re.MULTILINE), said
    counts = confusion_matrix(table["emotion"], table["prediction"], labels=labels)
    for label, row in zip(labels, counts, strict=True):
        assert re.search(rf"^{label} +{' +'.join(map(str, row))}$", said, re.MULTILINE), said
    mean = np.mean([report[label]["recall"] for label in labels[:3]])
    assert f"UAR {mean:.4f} (" in said, "each emotion has ten clips"
    assert "UAR is the mean recall of a, b, c\n" in said
    assert "macro" not in said


def write_answers(path: Path, right: list[bool]) -> None:
    """A table of eval.py over 0.wav, 1.wav, ...: happy where the truth says so and this says that it is right."""
    path.parent.mkdir(exist_ok=True)
    rows = ["url,emotion,confidence,happy,sad,error"]
    for number, is_right in enumerate(right):
        says_happy = (number % 2 == 0) == is_right
        rows.append(f"{number}.wav,{'happy,0.9,0.9,0.1,' if says_happy else 'sad,0.9,0.1,0.9,'}")
    path.write_text("\n".join(rows) + "\n")


def test_compare_tells_the_better_model_with_its_interval_and_the_exact_test(tmp_path):
    """Of 100 recordings a has 60 right and b 80: 30 in b alone, 10 in a alone."""
    a = np.array([True] * 60 + [False] * 40)
    b = np.array([True] * 50 + [False] * 10 + [True] * 30 + [False] * 10)
    write_answers(tmp_path / "a" / "out.csv", a)
    write_answers(tmp_path / "b" / "out.csv", b)
    truth = ["path,emotion"] + [f"{number}.wav,{'sad' if number % 2 else 'happy'}" for number in range(100)]
    (tmp_path / "truth.csv").write_text("\n".join(truth))
    tables = ("a/out.csv", "b/out.csv", "--labels", "truth.csv")
    result = call_main(compare.main, tables, tmp_path)
    assert result.returncode == 0, result.stderr
    first, *lines, verdict = result.stdout.splitlines()
    assert first == "100 recordings are in both" and verdict == "b/out.csv has the better UAR"
    assert lines[:2] == ["a/out.csv: accuracy 0.6000, UAR 0.6000", "b/out.csv: accuracy 0.8000, UAR 0.8000"]
    difference, low, high = map(float, re.findall(r"[+-]0\.\d+", lines[2]))
    # Each recording's difference is 1, 0 or -1 with the shares 0.3, 0.6, 0.1: variance 0.36.
    assert difference == 0.2 and (low, high) == pytest.approx((0.2 - 1.96 * 0.06, 0.2 + 1.96 * 0.06), abs=0.015)
    p = 2 * binom.cdf(10, 40, 0.5)
    assert f"correct only in the second: 30, only in the first: 10; p = {p:.3g} (exact McNemar test)" in lines[3]
    write_answers(tmp_path / "b" / "out.csv", a[::-1])
    said = call_main(compare.main, tables, tmp_path).stdout
    assert said.endswith("\nthese recordings do not show which model is better\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a.csv", "none.csv", "--labels", "truth.csv"), "none.csv"),
        (("a.csv", "truth.csv", "--labels", "truth.csv"), "truth.csv is not a table with rows that eval.py wrote"),
        (("a.csv", "a.csv", "--labels", "far.csv"), "a.csv has no emotion for any of the labels in far.csv"),
    ],
)
def test_compare_refuses_what_it_cannot_compare_with_one_sentence(tmp_path, arguments, sentence):
    write_answers(tmp_path / "a.csv", [True])
    (tmp_path / "truth.csv").write_text("path,emotion\n0.wav,happy\n")
    (tmp_path / "far.csv").write_text("path,emotion\nx/0.wav,happy\n")
    result = call_main(compare.main, arguments, tmp_path)
    assert result.returncode == 2 and sentence in result.stderr and result.stderr.count("\n") == 1
