"""The one place that knows what a row is, against rows worked out by hand."""

import re

import hypothesis
import pytest
from hypothesis import strategies

from speech_emotion.inference import table
from speech_emotion.inference.formats import cell, text, value
from speech_emotion.inference.table import columns, recording_row, stretch_columns, stretch_row

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
    assert table.prediction_row("a", "calm", row) == {
        "clip": "a", "emotion": "calm", "prediction": "sad", "calm": 0.45, "sad": 0.55,
    }  # fmt: skip


def test_an_error_names_its_recording_only_when_it_is_printed():
    row = table.error_row("\x1b.wav", LABELS, "too short")
    assert list(row) == columns(LABELS) and row["error"] == "too short" and row["calm"] is row["confidence"] is None
    assert table.error_sentence(row) == "\\x1b.wav: too short"


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
        ("url", "\t =a", "'\t' =a", "\t =a"),
        ("url", "\tb.wav", "'\tb.wav", "\tb.wav"),
        ("url", "a;=1+1;.wav", "a;'=1+1;.wav", "a;=1+1;.wav"),
        ("error", 'a\t"@b', "a\t'\"@b", 'a\t"@b'),
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
