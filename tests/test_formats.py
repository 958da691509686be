"""Rows and cells, and timelines in the formats of other programs, read again by other code than wrote them."""

import re

import hypothesis
import numpy as np
import pysubs2
import pytest
import soundfile
from conftest import REPOSITORY, read_rows, run_eval, run_eval_process
from hypothesis import strategies
from praatio import textgrid

from speech_emotion.inference import table
from speech_emotion.inference.formats import cell, text, value
from speech_emotion.inference.table import Table, columns, recording_row, stretch_columns, stretch_row

LABELS = ["calm", "sad"]


def test_a_recording_is_the_mean_of_its_stretches_by_how_long_each_is_heard():
    spans = (0.0, 3.0), (3.5, 4.0)
    probabilities = [0.9, 0.1], [0.0, 1.0]
    stretches = [stretch_row("a.wav", LABELS, each, span) for each, span in zip(probabilities, spans, strict=True)]
    assert stretches[0] == {
        "url": "a.wav", "start": 0.0, "end": 3.0, "emotion": "calm", "confidence": 0.9, "calm": 0.9, "sad": 0.1,
    }  # fmt: skip
    row = recording_row("a.wav", LABELS, stretches, [1, 1])
    assert row == {"url": "a.wav", "emotion": "sad", "confidence": 0.55, "calm": 0.45, "sad": 0.55, "error": ""}
    assert recording_row("a.wav", LABELS, stretches, [200, 50])["calm"] == pytest.approx(0.72)
    assert list(stretches[0]) == stretch_columns(LABELS) and list(row) == columns(LABELS)


@pytest.mark.parametrize(
    ("probabilities", "uncertain"),
    [
        ({"calm": 0.9, "sad": 0.1}, False),
        ({"calm": 0.52, "sad": 0.48}, True),
        ({"calm": 0.2, "sad": 0.39, "angry": 0.2, "happy": 0.21}, True),
        ({"calm": 0.2, "sad": 0.41, "angry": 0.19, "happy": 0.2}, False),
        ({"calm": 1.0}, False),
    ],
)
def test_low_confidence_or_a_close_second_is_uncertain(probabilities, uncertain):
    row = stretch_row("a.wav", list(probabilities), list(probabilities.values()), (0.0, 3.0))
    assert table.is_uncertain(row) is uncertain


@pytest.mark.parametrize(
    ("column", "given", "text", "back"),
    [
        ("url", "a,b.wav", "a,b.wav", "a,b.wav"),
        ("url", "=1+1", "'=1+1", "=1+1"),
        ("url", "'=1+1", "''=1+1", "'=1+1"),
        ("url", "'a", "'a", "'a"),
        ("url", "a;=1+1;.wav", "a;'=1+1;.wav", "a;=1+1;.wav"),
        ("url", "a=b-c.wav", "a=b-c.wav", "a=b-c.wav"),
        ("url", "\udcff", "\udcff", "\udcff"),
        ("error", "-90 dB", "'-90 dB", "-90 dB"),
        ("calm", 0.123456, "0.1235", 0.1235),
        ("start", -0.5, "-0.5000", -0.5),
        ("confidence", None, "", None),
        ("confidence", 1, "1.0000", 1.0),
    ],
)
def test_a_cell_and_what_it_says(column, given, text, back):
    assert cell(column, given) == text and value(column, text) == back


@hypothesis.given(strategies.text("=+-@;\t\r\n'\" ,a\uff1d"))
def test_no_cell_is_a_formula_wherever_it_is_split_and_every_cell_can_be_read_back(name):
    quoted = cell("url", name)
    assert text(quoted) == name
    assert not any(part.lstrip(' "').startswith(tuple("=+-@\uff1d")) for part in re.split("[;\t\r\n]", quoted))


def stretch(start, end, emotion, **given):
    return {"url": "a.wav", **given, "start": start, "end": end, "emotion": emotion, "confidence": 0.5}


STRETCHES = [stretch(0.5, 3, "sad"), stretch(3, 4.51, "sad"), stretch(4.51, 6.0, "happy"), stretch(9, 12.25, "happy")]
SEGMENTS = [stretch(0.5, 3, "sad", speaker="ann", text="Bonjour, =1"), stretch(3, 4.5, "sad", speaker="bob", text="")]


def write(path, stretches, length_s=14.1):
    """As eval.py writes the stretches of a recording."""
    columns = list(stretches[0]) if stretches else ["url", "start", "end", "emotion", "confidence"]
    with Table(path.with_name("out.csv"), ["url"], timeline=path, stretch_columns=columns) as table:
        table.write([{"url": "a.wav"}], stretches, length_s)
        table.finish()
    return path


def read_track(path):
    """(start, end, text), with the name of the tier before the text where there are several."""
    if path.suffix == ".TextGrid":
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
        entries = [(name, *entry) for name in grid.tierNames for entry in grid.getTier(name).entries]
        return [(start, end, text if name == "emotion" else f"{name}: {text}") for name, start, end, text in entries]
    if path.suffix == ".txt":
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        return [(float(start), float(end), text) for start, end, text in lines]
    lines = pysubs2.load(str(path), format_=path.suffix[1:])
    return [(line.start / 1000, line.end / 1000, line.text) for line in lines]


@pytest.mark.parametrize("name", ["t.TextGrid", "t.srt", "t.vtt", "t.txt"])
@pytest.mark.parametrize(
    ("stretches", "captions"),
    [
        ([], []),
        (STRETCHES, [(0.5, 4.51, "sad"), (4.51, 6.0, "happy"), (9.0, 12.25, "happy")]),
        (SEGMENTS, [(0.5, 3, "ann: [sad] Bonjour, =1"), (3, 4.5, "bob: [sad]")]),
    ],
)
def test_tracks_hold_the_joined_stretches_or_the_segments(tmp_path, name, stretches, captions):
    path = write(tmp_path / name, stretches)
    assert read_track(path) == captions
    assert path.read_bytes().startswith(b"WEBVTT") == (name == "t.vtt")


@pytest.mark.parametrize("is_silent", [False, True])
def test_the_length_of_a_recording_reaches_its_track(tmp_path, is_silent):
    """Also if it ends with silence, or holds nothing else; and with a picture beside the track, twice in a row."""
    voice, rate = soundfile.read(REPOSITORY / "eval_data" / "lively_female.flac")
    samples = np.zeros(round(14.1 * rate))
    samples[: len(voice)] = voice * (not is_silent)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    for options in ([], ["--resume"]):
        done = run_eval("a.wav", "--timeline", "t.TextGrid", "--plot", "p.png", *options, cwd=tmp_path)
        assert done.returncode == is_silent, done.stderr
    tier = textgrid.openTextgrid(str(tmp_path / "t.TextGrid"), includeEmptyIntervals=False).getTier("emotion")
    assert tier.maxTimestamp == 14.1 and bool(tier.entries) != is_silent
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_standard_input_is_a_recording(tmp_path):
    path = REPOSITORY / "eval_data" / "lively_female.flac"
    with path.open("rb") as file:
        done = run_eval_process("-", "--timeline", "t.csv", stdin=file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,), windows = read_rows(tmp_path / "out.csv"), read_rows(tmp_path / "t.csv")
    assert {row["url"], *(each["url"] for each in windows)} == {"stdin"}
    assert run_eval(path, cwd=tmp_path).returncode == 0
    assert {**read_rows(tmp_path / "out.csv")[0], "url": "stdin"} == row
