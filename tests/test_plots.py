"""The pictures show what the tables say."""

import re
import warnings
from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.evaluation import plots

LABELS = ["calm", "happy", "angry"]


TABLE = pd.DataFrame(
    [("calm", "calm", 0.95)] * 8 + [("calm", "happy", 0.95)] * 2 + [("happy", "happy", 0.95)] * 5
    + [("angry", "calm", 0.65)] * 4,
    columns=["emotion", "prediction", "confidence"],
).assign(**dict.fromkeys(LABELS, 0.0))  # fmt: skip


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def row(start: float, end: float, *probabilities: float) -> dict:
    return {"start": start, "end": end, **dict(zip(LABELS, probabilities, strict=True))}


def test_a_folder_is_counted_by_emotion_and_by_confidence():
    figure = plots.plot_folder({"calm": [0, 3, 0, 1], "happy": [0, 2, 2, 0], "angry": [0, 0, 0, 0]}, n_failed=7)
    emotions, confidence = figure.axes
    assert [label.get_text() for label in emotions.get_yticklabels()] == [*LABELS, "no emotion"]
    assert [bar.get_width() for bar in emotions.patches] == [4, 4, 0, 7] and texts(emotions) == ["4", "4", "0", "7"]
    tops = np.zeros(4)
    for bar in confidence.patches:
        assert bar.get_width() == 0.25
        tops[int(bar.get_x() * 4)] += bar.get_height()
    assert tops.tolist() == [0, 5, 2, 1]
    assert max(bar.get_y() + bar.get_height() for bar in confidence.patches) == 5, "stacked, not in front of each other"
    colours = {bar.get_facecolor()[:3] for bar in confidence.patches if bar.get_height()}
    assert colours == {to_rgb(plots.COLOURS["calm"]), to_rgb(plots.COLOURS["happy"])}


def test_labels_that_ravdess_lacks_have_their_own_colours():
    figure = plots.plot_folder({"happy": [1], "bored": [2], "怒り": [1]}, n_failed=1)
    colours = [to_rgb(bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert len(set(colours)) == 4 and colours[0] == to_rgb(plots.COLOURS["happy"])
    assert colours[3] == to_rgb("lightgrey")


@pytest.mark.parametrize("label", ["\u6012\u308a", r"$\foo$", r"$\hspace{10000000}a$"])
def test_a_label_in_a_script_without_a_font_or_between_dollars_is_text(tmp_path, label):
    predictions = pd.DataFrame({"emotion": [label, "a"], "prediction": ["a", "a"]})
    with warnings.catch_warnings(record=True) as caught:
        plots.use_style()
        plots.save_picture(plots.plot_confusion(predictions, labels=["a", label]), tmp_path / "a.png")
    assert not caught


@pytest.mark.parametrize("read", [float, str], ids=["as numbers", "as read from a table"])
def test_a_timeline_shows_every_stretch_and_the_pause(read):
    windows = [row(0.5, 2.75, 0.7, 0.2, 0.1), row(2.75, 5.0, 0.1, 0.8, 0.1), row(9.5, 12.5, 0.2, 0.2, 0.6)]
    ax = Figure().subplots()
    plots.plot_timeline([{key: read(value) for key, value in window.items()} for window in windows], LABELS, ax)
    mesh, line = ax.collections
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0.5, 2.75, 5.0, 9.5, 12.5]
    np.testing.assert_allclose(
        np.ma.filled(mesh.get_array(), np.nan),
        [[0.7, 0.1, np.nan, 0.2], [0.2, 0.8, np.nan, 0.2], [0.1, 0.1, np.nan, 0.6]],
    )
    assert [segment.tolist() for segment in line.get_segments()] == [
        [[0.5, 0.0], [2.75, 0.0]], [[2.75, 1.0], [5.0, 1.0]], [[9.5, 2.0], [12.5, 2.0]],
    ]  # fmt: skip
    assert [label.get_text() for label in ax.get_yticklabels()] == LABELS and ax.yaxis_inverted()
    assert ax.get_xlim() == (0, 12.5)


def test_the_timeline_of_a_long_recording_can_be_read():
    """47 minutes of stretches of 2 s with 1 s between them: a fifth calm, then angry."""
    minutes = 47
    starts = np.arange(0.0, 60 * minutes, 3)
    stretches = [row(start, start + 2, 0.9, 0.1, 0.0) for start in starts[starts < 12 * minutes]]
    stretches += [row(start, start + 2, 0.2, 0.2, 0.6) for start in starts[starts >= 12 * minutes]]
    ax = Figure().subplots()
    plots.plot_timeline(stretches, LABELS, ax)
    mesh, line = ax.collections
    shown = np.ma.filled(mesh.get_array(), np.nan)
    assert shown.shape == (3, 60) and not np.isnan(shown).any()
    np.testing.assert_allclose(shown[:, 2], [0.9, 0.1, 0.0])
    np.testing.assert_allclose(shown[:, -2], [0.2, 0.2, 0.6])
    assert {segment[0, 1] for segment in line.get_segments()} == {0, 2}
    ticks = [ax.xaxis.get_major_formatter()(place) for place in ax.get_xticks() if place <= 60 * minutes]
    assert ticks[-5:] == ["0:00", "10:00", "20:00", "30:00", "40:00"]


def test_a_confusion_matrix_has_the_counts_and_a_row_for_each_emotion_that_occurs():
    ax = Figure().subplots()
    plots.plot_confusion(TABLE.query("emotion != 'happy'"), ax=ax, labels=LABELS)
    counts = {text.get_position(): text.get_text() for text in ax.texts}
    assert counts == {(0.5, 0.5): "8", (1.5, 0.5): "2", (0.5, 1.5): "4"}
    assert [(label.get_text(), label.get_rotation()) for label in ax.get_yticklabels()] == [("calm", 0), ("angry", 0)]
    np.testing.assert_array_equal(np.ma.filled(ax.collections[0].get_array()), [[0.8, 0.2, 0], [1, 0, 0]])


def test_recalls_are_bars_in_the_colours_of_the_emotions():
    ax = Figure().subplots()
    plots.plot_recalls({"run": TABLE}, ax)
    assert [bar.get_width() for bar in ax.patches] == [0.8, 1.0, 0.0] and texts(ax) == ["0.80", "1.00", "0.00"]
    assert [bar.get_facecolor()[:3] for bar in ax.patches] == [to_rgb(plots.COLOURS[label]) for label in LABELS]


def test_reliability_has_intervals_and_leaves_out_bins_of_a_few_clips():
    ax = Figure().subplots()
    plots.plot_reliability({"run": TABLE}, ax)
    ((dots, _, (bars,)),) = ax.containers
    assert dots.get_xydata().tolist() == [[pytest.approx(0.95), pytest.approx(13 / 15)]], "four clips at 0.65 are few"
    (low, high) = bars.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.621, 0.963), abs=5e-4), "of 13 in 15"
    assert "5 clips or more" in ax.get_xlabel()


def linear_rgb(colours: Iterable[str]) -> np.ndarray:
    srgb = np.array([to_rgb(colour) for colour in colours])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def oklab(linear: np.ndarray) -> np.ndarray:
    """Ottosson (2020), of linear sRGB colours (N, 3)."""
    cones = np.cbrt(linear @ np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]).T)
    return cones @ np.array([[0.2105, 0.7936, -0.0041], [1.978, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]).T


CHART = (REPOSITORY / "speech_emotion/serving/static/chart.js").read_text(encoding="utf-8")
OF_PAGE = dict(re.findall(r'(\w+): "(#\w{6})"', CHART))
LUMINANCE = [0.2126, 0.7152, 0.0722]
BLINDNESS = [  # Machado, Oliveira and Fernandes (2009), full strength
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
]


@pytest.mark.parametrize(("colours", "least"), [(plots.COLOURS, 0.08), (OF_PAGE, 0.11)], ids=["pictures", "page"])
def test_no_two_emotions_look_alike_to_the_colour_blind(colours, least):
    assert list(colours) == list(EMOTIONS)
    linear = linear_rgb(colours.values())
    for blindness in (np.eye(3), *BLINDNESS):
        seen = oklab((linear @ np.transpose(blindness)).clip(0, 1))
        assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > least


def test_neighbours_in_a_picture_differ_in_grey_and_the_page_shows_on_white_and_on_black():
    lightness = 116 * np.cbrt(linear_rgb(plots.COLOURS.values()) @ LUMINANCE)
    assert min(abs(one - other) for one, other in pairwise(lightness)) > 10
    light = linear_rgb(OF_PAGE.values()) @ LUMINANCE
    assert min(1.05 / (light.max() + 0.05), (light.min() + 0.05) / 0.057) >= 1.9  # contrasts
