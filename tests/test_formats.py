"""Tables and timelines in the formats of other programs, read again by other code than wrote them."""

import json
from itertools import pairwise

import numpy as np
import pysubs2
import pytest
import soundfile
from conftest import REPOSITORY, read_rows, run_eval, run_eval_process
from praatio import textgrid

from speech_emotion.inference.formats import captions, read_table, segments

RATE = 16_000


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory):
    """30 s, of which the middle is silent."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    voice, rate = soundfile.read(REPOSITORY / "eval_data" / "lively_female.flac")
    soundfile.write(path, np.concatenate([*[voice] * 3, np.zeros(12 * rate), *[voice] * 3]), rate)
    return path


def stretch(start, end, emotion):
    return {"start": start, "end": end, "emotion": emotion}


def test_neighbours_of_one_emotion_are_joined_where_they_meet():
    stretches = [stretch(0, 3, "sad"), stretch(3, 4.5, "sad"), stretch(4.5, 6, "happy"), stretch(9, 12, "happy")]
    assert segments(stretches) == {"": [(0, 4.5, "sad"), (4.5, 6, "happy"), (9, 12, "happy")]}
    assert segments([]) == {} and captions([]) == []
    two = [stretch(0, 3, "sad") | {"channel": 1}, stretch(2, 4, "sad") | {"channel": 2}]
    assert segments(two) == {"1": [(0, 3, "sad")], "2": [(2, 4, "sad")]}
    assert captions(two) == [(0, 3, "1: sad"), (2, 4, "2: sad")]


def test_a_timeline_is_the_same_in_every_format(long_recording, tmp_path):
    for name in ("t.csv", "t.jsonl", "t.TextGrid", "t.srt", "t.vtt", "t.txt"):
        done = run_eval(long_recording, "--timeline", name, "--out", "out.jsonl", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    rows = list(read_table(tmp_path / "t.csv"))
    expected = segments(rows)[""]
    assert len(rows) >= len(expected) >= 2 and any(b[0] > a[1] + 5 for a, b in pairwise(expected))

    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == lines
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert row["url"] == str(long_recording) and row["error"] == "" and row["confidence"] > 0

    tier = textgrid.openTextgrid(str(tmp_path / "t.TextGrid"), includeEmptyIntervals=False).getTier("emotion")
    assert [tuple(entry) for entry in tier.entries] == expected
    milliseconds = [(round(1e3 * start), round(1e3 * end), emotion) for start, end, emotion in expected]
    for name in ("t.srt", "t.vtt"):
        assert [(each.start, each.end, each.text) for each in pysubs2.load(str(tmp_path / name))] == milliseconds
    assert (tmp_path / "t.vtt").read_text().startswith("WEBVTT")
    labels = [line.split("\t") for line in (tmp_path / "t.txt").read_text(encoding="utf-8").splitlines()]
    assert [(float(a), float(b), c) for a, b, c in labels] == expected


def test_without_an_emotion_a_track_is_empty(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    for name in ("t.TextGrid", "t.srt", "t.vtt", "t.txt"):
        assert run_eval("silent.wav", "--timeline", name, cwd=tmp_path).returncode == 1
        assert (tmp_path / name).exists()
    assert len(textgrid.openTextgrid(str(tmp_path / "t.TextGrid"), False).getTier("emotion").entries) == 0


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["eval_data", "--timeline", "t.srt"], "t.srt can only hold one recording, not 8; use a .csv"),
    (["eval_data", "--out", "t.TextGrid"], "t.TextGrid would hold emotions over time, which --timeline writes"),
    (["eval_data", "--out", "results.xlsx"], "a table ends in .csv, .jsonl, .parquet"),
    (["eval_data", "--timeline", "t.docx"], "a timeline also in .TextGrid, .srt, .vtt, .txt"),
    (["-", "eval_data"], "- (standard input) cannot be combined"),
    (["-", "--resume"], "- (standard input) cannot be combined"),
])  # fmt: skip
def test_what_a_format_cannot_hold_is_one_sentence(arguments, sentence, tmp_path):
    (tmp_path / "eval_data").symlink_to(REPOSITORY / "eval_data")
    done = run_eval(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["eval_data"]


def test_a_picture_beside_a_track_is_drawn(long_recording, tmp_path):
    assert run_eval(long_recording, "--timeline", "t.srt", "--plot", "p.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_a_finished_track_can_be_resumed(long_recording, tmp_path):
    for options in ([], ["--resume"]):
        assert run_eval(long_recording, "--timeline", "t.srt", *options, cwd=tmp_path).returncode == 0
    assert pysubs2.load(str(tmp_path / "t.srt"))


def test_standard_input_is_a_recording(tmp_path):
    path = REPOSITORY / "eval_data" / "lively_female.flac"
    with path.open("rb") as file:
        done = run_eval("-", "--timeline", "t.csv", stdin=file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,), windows = read_rows(tmp_path / "out.csv"), read_rows(tmp_path / "t.csv")
    assert {row["url"], *(each["url"] for each in windows)} == {"stdin"}
    assert run_eval(path, cwd=tmp_path).returncode == 0
    assert {**read_rows(tmp_path / "out.csv")[0], "url": "stdin"} == row
    assert "Format not recognised" in run_eval_process("-", input="no sound", cwd=tmp_path).stdout
