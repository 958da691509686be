"""The tables of the documents, from predictions small enough to be counted by hand."""

import pandas as pd
import pytest
from test_metrics import table

from research import report_adaptation, report_groups, report_own
from research.report import replace_between_markers
from research.report_tables import (
    BRIEFLY,
    checkpoints_table,
    results_table,
    robustness_table,
    strangers_table,
)
from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, uar

RIGHT = table(*[(emotion, emotion, 0.9) for emotion in ("happy", "happy", "sad", "sad")])
HALF = table(*[(emotion, given, 0.9) for emotion in ("happy", "sad") for given in ("happy", "sad")])


def spoken(predictions: pd.DataFrame, actor: int, channel: str = "speech") -> pd.DataFrame:
    sex = "male" if actor % 2 else "female"
    clips = [f"{clip} of {actor} in {channel}" for clip in predictions["clip"]]
    return predictions.assign(clip=clips, actor=actor, channel=channel, sex=sex, intensity="normal")


def rows(markdown: str) -> dict[str, list[str]]:
    """The cells of a table below its header, by its first column."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()[2:]]
    return {name: cells for name, *cells in lines}


# Of `model.pt` the women are right and the men half; of the other recipe both are half; adapted, both are right.
RUNS = {
    "speaker8-fold0": pd.concat([spoken(RIGHT, 2), spoken(HALF, 3)]),
    "any8-fold0": pd.concat([spoken(HALF, 2), spoken(HALF, 3)]),
    "any8-fold0-adapted": pd.concat([spoken(RIGHT, 2), spoken(RIGHT, 3)]),
}


def test_a_row_of_the_results_is_the_mean_over_its_runs():
    runs = {"random8-split0": RIGHT, "random8-split1": HALF, "random8-split1-epochs2": HALF, "random7-split0": HALF}
    low, high = bootstrap_interval(pd.concat([RIGHT, HALF]), accuracy)
    for metric in (accuracy, uar):
        found = rows(results_table(runs, metric, BRIEFLY))
        assert found["`model.pt`: known voices"] == ["2", "8", f"0.750 ({low:.3f} to {high:.3f})", "0.500 to 1.000"]
        runs_of_one, n, value, spread = found["`model_sad_removed.pt`: known voices"]
        assert (runs_of_one, n, value[:7], spread) == ("1", "4", "0.500 (", "")


def test_checkpoints_are_listed_with_the_accuracy_of_their_recipe_on_all_splits():
    runs = {"random8-split0": RIGHT, "random8-split1": HALF, "random7-split0": HALF, "any8-split0": HALF.tail(3)}
    assert rows(checkpoints_table(runs)) == {
        "`model.pt`": ["4", "1.0000 (1.000 to 1.000)", "0.750", "0.500 to 1.000"],
        "`model_sad_removed.pt`": ["4", "0.5000 (0.000 to 1.000)", "0.500", "0.500 to 0.500"],
        "`model_any_voice.pt`": ["3", "0.3333 (0.000 to 1.000)", "0.333", "0.333 to 0.333"],
    }


def test_the_first_table_has_a_row_per_group_and_a_column_per_configuration():
    half, right = HALF.assign(channel="speech"), RIGHT.assign(channel="speech")
    runs = {"random8-split0": right, "any8-split0": half, "speaker8-fold0": right, "speaker8-fold1": half}
    runs = {name: pd.concat([run, HALF.assign(channel="song")]) for name, run in runs.items()}
    runs |= {"any8-emodb": half, "any8-emodb-adapted": right}
    assert rows(strangers_table(runs)) == {
        "known voices": ["0.750", "0.500", ""],
        "unseen actors, speech": ["0.750", "", ""],
        "unseen actors, song": ["0.500", "", ""],
        "German actors (EmoDB)": ["", "0.500", "1.000"],
    }


def test_groups_are_counted_over_all_folds():
    found = rows(report_groups.groups_table(RUNS, "speech"))
    values = {name: [cell[:6].strip() for cell in cells] for name, cells in found.items()}
    assert values["all"] == ["0.750", "0.500", "1.000"]
    assert values["women"] == ["1.000", "0.500", "1.000"] and values["men"] == ["0.500", "0.500", "1.000"]
    assert values["women minus men"] == ["+0.500", "+0.000", "+0.000"]
    assert values["lowest actor"] == ["0.500", "0.500", "1.000"] and values["highest actor"][0] == "1.000"
    assert values["happy"] == ["0.750", "0.500", "1.000"] and "calm" not in values


def test_differences_are_of_the_same_clips():
    runs = {name: pd.concat([run, spoken(RIGHT, 2, "song"), spoken(RIGHT, 3, "song")]) for name, run in RUNS.items()}
    runs["any8-fold0"] = runs["any8-fold0"].iloc[::-1]  # the order of the clips does not matter
    found = rows(report_groups.differences_table(runs))
    assert [cell[:6] for cell in found["`model_any_voice.pt` minus `model.pt`"]] == ["-0.250", "+0.000"]
    assert [cell[:6] for cell in found["with `--adapt` minus without"]] == ["+0.500", "+0.000"]
    assert found["with `--adapt` minus without"][0] == "+0.500 (+0.500 to +0.500)"


def test_calibration_has_a_sign():
    runs = RUNS | {"random8-split0": spoken(RIGHT, 2), "any8-split0": spoken(HALF, 3, "song")}
    found = rows(report_groups.calibration_table(runs))
    assert found["all"] == ["-10.0", "+40.0", "+15.0", "+40.0", "-10.0"]
    assert found["men"][2:] == ["+40.0", "+40.0", "-10.0"] and found["ECE, pooled"][0] == "0.100"


def test_a_temperature_is_fitted_to_the_other_folds():
    sure = spoken(HALF, 2)
    runs = {"speaker8-fold0": sure, "speaker8-fold1": spoken(HALF, 3)}
    runs |= {"any8-fold0": sure, "any8-fold1": spoken(RIGHT, 3), "any8-fold0-adapted": sure, "any8-fold1-adapted": sure}
    found = rows(report_groups.temperature_table(runs))
    assert found["as published"] == ["0.400", "0.150", "0.400"]
    assert float(found["one for all"][0]) < 0.1, "half are right in both folds, which the other fold knows"
    assert float(found["one for all"][1]) > 0.2, "one fold makes the other too sure, and that one doubts for nothing"


FOLDERS = pd.DataFrame(
    [
        (kind, speaker, emotion, 4, 2, 4 if speaker == "a" else 2)
        for kind in report_adaptation.FOLDERS
        for speaker in "ab"
        for emotion in ("happy", "sad")
    ],
    columns=["folder", "speaker", "emotion", "recordings", "plain", "adapted"],
)


def test_a_gain_is_counted_over_folders_and_drawn_by_speaker():
    found = rows(report_adaptation.adaptation_table({"here": FOLDERS}))
    assert list(found) == report_adaptation.FOLDERS
    assert found["5 recordings"] == ["0.500", "0.750", "+0.250 (+0.000 to +0.500)"]


def test_own_labels_are_a_mean_over_partitions():
    clips = ["03a01Wa", "03a01Fa", "08a01Wa", "08a01Fa"]
    answers = pd.DataFrame({"clip": clips, "emotion": ["angry", "happy"] * 2, "prediction": ["angry"] * 4})
    right = answers.assign(prediction=answers["emotion"])
    parts = {"README": right, "README, inner": answers, "0": answers, "1": right}
    found = report_own.own_table(pd.concat(part.assign(partition=name) for name, part in parts.items()))
    inner, outer, drawn = rows(found).values()
    assert (inner, outer) == (["0.500 (0.500 to 0.500)"], ["1.000 (1.000 to 1.000)"])
    assert drawn == ["mean 0.750, sd 0.354, 0.500 to 1.000"]


def test_robustness_counts_the_points_lost():
    answers = pd.DataFrame({"condition": ["as recorded"] * 4 + ["in a train"] * 4, "clip": [*"abcd"] * 2})
    answers = answers.assign(
        emotion="sad", **{"b.pt": ["sad", "sad", "sad", "happy"] * 2, "a.pt": ["sad"] * 6 + ["", "calm"]}
    )
    assert robustness_table(answers).splitlines() == [
        "| condition | `b.pt` | points lost | `a.pt` | points lost |",
        "| --- | --- | --- | --- | --- |",
        "| as recorded | 0.750 | 0.0 | 1.000 | 0.0 |",
        "| in a train | 0.750 | 0.0 | 0.500 | 50.0 |",
    ]


def test_only_what_is_between_the_markers_is_replaced():
    document = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\nkept\n<!-- /y -->\n"
    replaced = replace_between_markers(document, "x", r"new \1")
    assert replaced == document.replace("old", r"new \1")
    with pytest.raises(ValueError, match="exactly one pair of <!-- z -->"):
        replace_between_markers(document, "z", "new")
