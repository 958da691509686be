"""The tables of the README, from predictions small enough to be counted by hand."""

import pandas as pd
import pytest
from test_metrics import table

from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval
from speech_emotion.evaluation.report import (
    checkpoints_table,
    groups_table,
    replace_between_markers,
    results_table,
    robustness_table,
    strangers_table,
)

RIGHT = table(*[(emotion, emotion, 0.9) for emotion in ("happy", "happy", "sad", "sad")])
HALF = table(*[(emotion, given, 0.9) for emotion in ("happy", "sad") for given in ("happy", "sad")])


def test_a_row_of_the_results_is_the_mean_over_its_runs():
    runs = {"random8-split0": RIGHT, "random8-split1": HALF, "random8-split1-epochs2": HALF, "random7-split0": HALF}
    _, _, first, second = results_table(runs).splitlines()
    low, high = bootstrap_interval(pd.concat([RIGHT, HALF]), accuracy)
    # Accuracy 1 and 0.5, UAR the same, calibration error 0.1 and 0.4.
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells[:5] == ["known speakers, eight emotions", "2", "8", f"0.750 ({low:.3f} to {high:.3f})", "0.354"]
    assert cells[5].startswith("0.750 (") and cells[6] == "0.250"
    assert second.startswith("| known speakers, without sad | 1 | 4 | 0.500 (") and "| 0.400 |" in second


def test_the_checkpoints_have_the_numbers_of_their_runs():
    runs = {"random8-split0": RIGHT, "random7-split0": HALF, "any8-split0": HALF.tail(3)}
    assert checkpoints_table(runs).splitlines()[2:] == [
        "| `model.pt` | 4 | 1.0000 | 1.0000 |",
        "| `model_sad_removed.pt` | 4 | 0.5000 | 0.5000 |",
        "| `model_any_voice.pt` | 3 | 0.3333 | 0.2500 |",
    ]


def test_strangers_are_a_row_for_each_question_and_a_column_for_each_way_to_ask():
    half, right = HALF.assign(channel="speech"), RIGHT.assign(channel="speech")
    runs = {"random8-split0": right, "any8-split0": half, "speaker8-fold0": right, "speaker8-fold1": half}
    runs |= {"any8-fold0": right, "any8-fold0-adapted": half, "any8-emodb": half}
    rows = [row.split(" | ")[1:] for row in strangers_table(runs).splitlines()[2:]]
    assert rows == [
        ["1.000", "0.500", " |"],
        ["0.750", "1.000", "0.500 |"],
        ["0.750", "1.000", "0.500 |"],
        ["", "0.500", " |"],
    ]


def test_groups_are_counted_over_all_splits_and_all_folds():
    half = HALF.assign(sex=["male", "male", "female", "female"], channel="speech", intensity="normal")
    right = RIGHT.assign(sex="male", channel="song", intensity="strong")
    runs = {"random8-split0": half, "random8-split1": right, "speaker8-fold0": right, "speaker8-fold1": half.head(2)}
    runs["speaker8-fold2"] = half.tail(1)
    assert groups_table(runs).splitlines()[2:] == [
        "| happy | 0.750 | 0.750 |",
        "| sad | 0.750 | 1.000 |",
        "| female | 0.500 | 1.000 |",
        "| male | 0.833 | 0.833 |",
        "| song | 1.000 | 1.000 |",
        "| speech | 0.500 | 0.667 |",
        "| normal | 0.500 | 0.667 |",
        "| strong | 1.000 | 1.000 |",
    ]


def test_robustness_counts_the_points_lost():
    measured = pd.DataFrame({"condition": ["as recorded", "in a train"], "a.pt": [0.9, 0.75], "b.pt": [0.8, 0.9]})
    assert robustness_table(measured).splitlines() == [
        "| condition | `a.pt` | points lost | `b.pt` | points lost |",
        "| --- | --- | --- | --- | --- |",
        "| as recorded | 0.900 | 0.0 | 0.800 | 0.0 |",
        "| in a train | 0.750 | 15.0 | 0.900 | -10.0 |",
    ]


def test_only_what_is_between_the_markers_is_replaced():
    document = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\nkept\n<!-- /y -->\n"
    replaced = replace_between_markers(document, "x", r"new \1")
    assert replaced == document.replace("old", r"new \1")
    with pytest.raises(ValueError, match="there is not one <!-- z -->"):
        replace_between_markers(document, "z", "new")
