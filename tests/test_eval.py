"""eval.py on real files: its table, its timeline, its picture, and what it says."""

import os
import re
import shutil
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, read_rows, run_eval, run_eval_process, run_python, write_noise

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.inference.formats import cell
from speech_emotion.inference.predictor import Predictor
from speech_emotion.terminal import clock


def voice(seconds: float, rate: int = 16_000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return 0.1 * np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 4 * time))


def test_the_bundled_recordings_all_get_an_emotion(tmp_path):
    shutil.copytree(REPOSITORY / "eval_data", tmp_path / "eval_data")
    result = run_eval_process(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    table = read_rows(tmp_path / "out.csv")
    assert list(table[0]) == ["url", "emotion", "confidence", *EMOTIONS, "error"]
    recordings = {path.name for path in (REPOSITORY / "eval_data").glob("*.*") if path.suffix not in (".md", ".sh")}
    assert len(recordings) >= 6 and {Path(row["url"]).name for row in table} == recordings
    assert all(row["emotion"] in EMOTIONS and row["error"] == "" for row in table)
    first_line, second_line, *_ = result.stdout.splitlines()
    assert first_line == "model_any_voice.pt, for voices that no model was trained on; --model chooses another"
    assert second_line == f"{len(table)} recordings classified; the table is in out.csv"


@pytest.mark.parametrize(
    ("names", "options", "model"),
    [
        (["03-01-06-01-02-01-12.flac"], [], "model.pt"),
        (["03-01-06-01-02-01-12.flac", "a.flac"], [], "model_any_voice.pt"),
        (["a.flac"], [], "model_any_voice.pt"),
        (["03-01-06-01-02-01-12.flac"], ["--adapt"], "model_any_voice.pt"),
        (["a.flac"], ["--model", "model.pt"], ""),
    ],
)
def test_the_model_is_chosen_by_the_recordings(tmp_path, names, options, model):
    """The one that was trained on RAVDESS for RAVDESS's clips; that for all voices for all others, and to adapt."""
    for name in names:
        shutil.copy(REPOSITORY / "eval_data" / "even_male.flac", tmp_path / name)
    result = run_eval(*names, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first_line = result.stdout.splitlines()[0]
    assert (first_line.partition(",")[0] if "--model chooses another" in first_line else "") == model
    rows = read_rows(tmp_path / "out.csv")
    assert run_eval(*names, *options, "--model", model or "model.pt", cwd=tmp_path).returncode == 0
    assert read_rows(tmp_path / "out.csv") == rows


def test_a_folder_behind_adapt_is_a_folder(tmp_path):
    for seed in range(3):
        write_noise(tmp_path / "memos" / f"{seed}.wav", seed)
    options = ("--model", "any-voice", "--all-sounds")
    result = run_eval(*options, "--adapt", "memos", cwd=tmp_path)
    assert result.returncode == 0 and "adapted to 1 voice, by 3 of 3 recordings" in result.stdout, result.stderr
    adapted = read_rows(tmp_path / "out.csv")
    assert run_eval(*options, "memos", cwd=tmp_path).returncode == 0
    plain = read_rows(tmp_path / "out.csv")
    assert [row["url"] for row in adapted] == [row["url"] for row in plain] and adapted != plain
    result = run_eval("memos", "--adapt", "folders", cwd=tmp_path)
    assert result.returncode == 2 and "--adapt takes all, folder, speaker, not folders" in result.stderr


def test_few_recordings_are_printed_with_their_emotions_and_many_are_counted(tmp_path, model):
    (tmp_path / "=broken.wav").write_text("this is not audio")
    names = [f"{number}.wav" for number in range(10)]
    for seed, name in enumerate(names):
        write_noise(tmp_path / name, seed)
    head, *lines = run_eval("=broken.wav", *names[:9], "--model", "model.pt", cwd=tmp_path).stdout.splitlines()
    assert head == "9 recordings classified, 1 without an emotion; the table is in out.csv"
    broken, *rows = read_rows(tmp_path / "out.csv")
    assert lines[0] == f"  -                =broken.wav: {broken['error']}"
    for row, line in zip(rows, lines[1:10], strict=True):
        first, second, *_ = sorted((float(row[emotion]) for emotion in EMOTIONS), reverse=True)
        mark = "  (uncertain)" if first < 0.4 or first - second < 0.1 else ""
        assert line == f"  {row['emotion']:<10} {first:.2f}  {row['url']}{mark}"
    assert not all("(uncertain)" in line for line in lines[1:10])
    head, line, *_ = run_eval("0.wav", "--model", model, cwd=tmp_path).stdout.splitlines()
    assert head == "1 recording classified; the table is in out.csv" and line.endswith("0.wav  (uncertain)")
    head, *lines = run_eval("=broken.wav", *names, "--model", "model.pt", cwd=tmp_path).stdout.splitlines()
    assert head == "10 recordings classified, 1 without an emotion; the table is in out.csv"
    assert "mean confidence" in lines[0] and f"  =broken.wav: {broken['error']}" in lines


def test_what_cannot_be_classified_affects_only_its_own_row(tmp_path, model):
    folder = tmp_path / "recordings" / "deep"
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.wav", voice(1), 16_000)
    soundfile.write(folder / "b.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "c.wav", voice(0.09), 16_000)
    soundfile.write(folder / "d.wav", np.full(16_000, np.inf), 16_000, subtype="FLOAT")
    for name in ("e.wav", "notes.txt", ".hidden.wav"):
        (folder / name).write_text("this is not audio")
    result = run_eval("recordings", "--model", model, "--out", "table.csv", cwd=tmp_path)
    assert result.returncode == 1
    assert "2 other files in the folders were ignored" in result.stdout
    assert "recordings/deep/b.wav: silent" in result.stdout
    good, *others = read_rows(tmp_path / "table.csv")
    assert good["url"] == "recordings/deep/a.wav" and good["emotion"] in EMOTIONS and not good["error"]
    assert [row["emotion"] for row in others] == [""] * 4
    assert [row["error"] for row in others[:2]] == ["silent", "too short"] and all(row["error"] for row in others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no file or folder nowhere"),
        (["a.wave"], "there is no file or folder a.wave; did you mean a.wav?"),
        (["empty"], "there is no audio file in empty"),
        (["a.wav", "--model", "model_any_voices.pt"], "model_any_voices.pt; did you mean model_any_voice.pt?"),
        (["a.wav", "--model", "a.wav"], "a.wav is not a readable model file"),
        (["a.wav", "--out", "nowhere/out.csv"], "there is no folder nowhere"),
        (["a.wav", "--out", "/proc/self/out.csv"], "cannot write to the folder /proc/self: "),
        (["a.wav", "--batch-size", "0"], "'0' is not a whole number from 1 to 2147483647"),
        (["a.wav", "--out", "empty"], "empty is a folder"),
        (["a.wav", "--out", "b.csv", "--timeline", "b.csv"], "two of the files to write are the same"),
        (["a.wav", "--embeddings", "a.npy"], "--embeddings writes .npz, not a.npy"),
        (["a.wav", "--plot", "a.gif"], "writes .png, .pdf, .svg, not a.gif"),
        (["a.wav", "--device", "abacus"], "invalid choice"),
        (["-", "a.wav"], "- (standard input) cannot be combined with other recordings"),
        (["-", "--resume"], "- (standard input) cannot be combined"),
        (["a.wav", "c.wav", "--timeline", "t.srt"], "t.srt can only hold one recording, not 2; use a .csv"),
        (["a.wav", "--out", "t.TextGrid"], "t.TextGrid would hold emotions over time, which --timeline writes"),
        (["a.wav", "--out", "results.xlsx"], "a table ends in .csv, .jsonl, .parquet"),
        (["a.wav", "--timeline", "t.docx"], "a timeline also in .TextGrid, .srt, .vtt, .txt"),
        (["a.wav", "--adapt"], "this model cannot adapt to recordings; --model model_any_voice.pt can"),
        (["a.wav", "--emotions", "angrry", "sad"], "did you mean angry?"),
        (["a.wav", "--labels", "t.csv", "--channels", "each"], "--labels gives a recording one emotion"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(tmp_path, model, arguments, message):
    (tmp_path / "empty").mkdir()
    for name in ("a.wav", "c.wav"):
        soundfile.write(tmp_path / name, np.zeros(100), 16_000)
    if "--model" not in arguments:
        arguments = [*arguments, "--model", model]
    result = run_eval(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr
    assert result.stderr.startswith("eval.py: ") and result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "c.wav", "empty"], "nothing was begun"


def test_a_wrong_path_is_told_before_torch_is_imported():
    code = "import sys; from speech_emotion.__main__ import main; print(main(['nowhere']), 'torch' in sys.modules)"
    result = run_python(code)
    assert result.stdout == "2 False\n" and result.stderr.startswith("speech-emotion: there is no file or folder")


def test_neither_classifying_nor_the_report_imports_slow_packages(tmp_path, model):
    name = "03-01-06-01-02-01-12.wav"
    soundfile.write(tmp_path / name, voice(1), 16_000)
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
    code += f"from speech_emotion.commands import classify; classify.main([{name!r}, '--model', {str(model)!r}])\n"
    slow = {"librosa", "matplotlib", "seaborn", "sklearn", "scipy", "pandas", "av", "sympy", "torch._dynamo"}
    code += f"print(sorted({slow} & set(sys.modules)))"
    result = run_python(code, cwd=tmp_path)
    assert result.stdout.endswith("[]\n") and "confusion matrix" in result.stdout


def test_the_tables_hold_what_the_predictor_answers(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("long.wav", np.concatenate([voice(20), np.zeros(10 * 16_000), voice(40)]), 16_000)
    soundfile.write("short.wav", voice(1), 16_000)
    paths = ["long.wav", "short.wav"]
    assert run_eval(*paths, "--model", model, "--timeline", "t.csv", cwd=tmp_path).returncode == 0
    long, short = Predictor(model, "cpu").answers(paths)
    expected = {"out.csv": [*long.rows, *short.rows], "t.csv": [*long.stretches, *short.stretches]}
    for name, rows in expected.items():
        assert read_rows(Path(name)) == [{column: cell(column, row[column]) for column in row} for row in rows]
    assert list(short.stretches[0]) == ["url", "start", "end", "emotion", "confidence", *EMOTIONS]
    assert len(short.stretches) == 1 and len(long.stretches) >= 20 and long.stretches[-1]["end"] == 70


def test_of_a_long_recording_the_mix_and_the_longest_parts_are_printed(tmp_path, model):
    soundfile.write(tmp_path / "long.wav", np.concatenate([voice(40), np.zeros(16_000), voice(30)]), 16_000)
    result = run_eval("long.wav", "--model", model, cwd=tmp_path)
    said, progress = result.stdout, result.stderr
    assert "1 of 1 recordings: 100%" in progress and "| 71 of 71 s of sound" in progress
    (row,) = read_rows(tmp_path / "out.csv")
    means = sorted(((float(row[emotion]), emotion) for emotion in EMOTIONS), reverse=True)
    is_mixed = means[0][0] < 0.4 or means[0][0] - means[1][0] < 0.1
    mix = ", ".join(f"{emotion} {mean:.2f}" for mean, emotion in means[:3])
    assert f"  {'mixed' if is_mixed else row['emotion']:<10}       long.wav, 1:11 long: {mix}\n" in said
    assert said.endswith("\n--timeline FILE writes the emotion of every stretch of speech\n")
    said = run_eval("long.wav", "--model", model, "--timeline", "t.csv", cwd=tmp_path).stdout
    parts = []
    for emotion, part in groupby(read_rows(tmp_path / "t.csv"), lambda stretch: stretch["emotion"]):
        spans = [(float(stretch["start"]), float(stretch["end"])) for stretch in part]
        parts.append((-sum(end - start for start, end in spans), emotion, spans[0][0], spans[-1][1]))
    _, emotion, start, end = min(parts)
    assert f"longest parts: {emotion} {clock(start)} to {clock(end)}" in said
    assert said.endswith("\nthe timeline is in t.csv\n")


def test_the_plot_of_a_folder_agrees_with_the_table_without_a_display(tone_data, tmp_path, model):
    (tmp_path / "broken.wav").write_text("this is not audio")
    clips = sorted(tone_data.glob("speech_actors/Actor_01/*.wav"))[::4]
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | {"MPLBACKEND": "TkAgg"}
    arguments = ("broken.wav", *clips, "--model", model, "--plot", "a.svg")
    assert run_eval_process(*arguments, cwd=tmp_path, env=environment).returncode == 1
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    texts = re.findall("<!-- (.+?) -->", svg)  # matplotlib draws letters as paths, with the text beside them
    rows = read_rows(tmp_path / "out.csv")
    for emotion in EMOTIONS:
        assert emotion in texts and str(sum(row["emotion"] == emotion for row in rows)) in texts
    assert "no emotion" in texts and "RAVDESS names" in texts and len(rows) == len(clips) + 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".svg", ".wav"]


def test_the_picture_of_one_recording_is_its_timeline_even_without_one_and_survives_a_resume(tmp_path, model):
    soundfile.write(tmp_path / "a.wav", voice(20), 16_000)
    pictures = []
    for options in (["--timeline", "t.csv", "--resume"], []):
        assert run_eval("a.wav", "--model", model, *options, "--plot", "a.png", cwd=tmp_path).returncode == 0
        pictures.append((tmp_path / "a.png").read_bytes())
    image = plt.imread(tmp_path / "a.png")
    assert image.shape == (540, 1200, 4) and image[..., :3].std() > 0.05 and pictures[0] == pictures[1]


def test_debug_shows_where_an_error_comes_from(tmp_path, model, caplog):
    (tmp_path / "broken.wav").write_text("this is not audio")
    with caplog.at_level("DEBUG"):
        assert run_eval("broken.wav", "--model", model, "--debug", cwd=tmp_path).returncode == 1
    assert "LibsndfileError" in caplog.text and "Traceback" in caplog.text


def test_a_waveform_and_its_file_get_the_same_row(tmp_path, model):
    predictor = Predictor(model, "cpu")
    samples = np.stack([voice(50, 44_100)] * 2, axis=1).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    (row,) = predictor.predict([tmp_path / "a.wav"])
    assert predictor.predict_waveform(samples, 44_100) == pytest.approx({**row, "url": ""}, abs=1e-3)
    assert list(row) == ["url", "emotion", "confidence", *EMOTIONS, "error"]
    assert predictor.predict_waveform(np.zeros(0), 44_100)["error"] == "too short"
    assert "sample rate" in predictor.predict_waveform(samples, 1)["error"]
