"""What a recording is headed by, against sentences written by hand."""

import pytest

from speech_emotion.inference.rows import recording_row, stretch_row
from speech_emotion.serving.headline import headline

LABELS = ["calm", "sad", "angry"]


def stretches(*emotions: str, step: float = 3.0) -> list[dict]:
    """Of 3 s each; a name that ends in ? has a close second."""
    rows = []
    for n, name in enumerate(emotions):
        first = LABELS.index(name.rstrip("?"))
        probabilities = [0.19] * 3 if name.endswith("?") else [0.05] * 3
        probabilities[first] = 0.45 if name.endswith("?") else 0.9
        probabilities[first - 1] = 0.36 if name.endswith("?") else 0.05
        rows.append(stretch_row("a.wav", LABELS, probabilities, (n * step, n * step + 3)))
    return rows


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (stretches("sad"), "sad, 90%"),
        (stretches("sad?"), "sad, 45% (uncertain)"),
        (stretches("calm", "calm"), "calm throughout"),
        (stretches("calm?", "calm?"), "calm throughout (uncertain)"),
        (stretches(*["calm"] * 4, *["angry"] * 3, "calm"), "mostly calm; angry from 0:12 to 0:21"),
        (stretches(*["calm"] * 4, "sad?", "calm"), "mostly calm; sad from 0:12 to 0:15 (uncertain)"),
        (stretches("calm", "sad"), "mixed: calm from 0:00 to 0:03; sad from 0:03 to 0:06"),
        (stretches("calm", "calm", "sad", step=1300), "mostly calm; sad from 43:20 to 43:23"),
        (stretches("calm", "calm", "sad", step=1900), "mostly calm; sad from 1:03:20 to 1:03:23"),
        (
            stretches(*["calm", "angry"] * 2, *["calm", "sad", "sad"] * 2, "calm", "angry", *["calm"] * 4),
            "mostly calm; angry from 0:03 to 0:06; sad from 0:15 to 0:21; sad from 0:24 to 0:30; 2 shorter parts",
        ),
    ],
)
def test_the_parts_of_a_recording_in_words(given, sentence):
    assert headline(recording_row("a.wav", LABELS, given, [1] * len(given)), given) == sentence
