"""The tables of the documents, from predictions small enough to be counted by hand."""

import shutil
import warnings

import pandas as pd
import pytest
from conftest import REPOSITORY
from test_metrics import table

from research import tables
from research.report import DOCUMENTS, with_tables, write_report
from research.tables import all_tables, read_predictions
from research.teaching import teaching_table
from speech_emotion.evaluation.metrics import accuracy, bootstrap_interval, uar

RIGHT = table(*[(emotion, emotion, 0.9) for emotion in ("happy", "happy", "sad", "sad")])
HALF = table(*[(emotion, given, 0.9) for emotion in ("happy", "sad") for given in ("happy", "sad")])


@pytest.fixture(autouse=True)
def without_warnings():
    """Where a group has no clips, or none in a draw, nothing is divided by zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


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
        found = rows(tables.results_table(runs, [metric], tables.BRIEFLY[:2]))
        assert found["`model.pt`: known voices"] == ["2", "8", f"0.750 ({low:.3f} to {high:.3f})", "0.500 to 1.000"]
        runs_of_one, n, value, spread = found["`model_sad_removed.pt`: known voices"]
        assert (runs_of_one, n, value[:7], spread) == ("1", "4", "0.500 (", "")


def test_checkpoints_are_listed_with_the_accuracy_of_their_recipe_on_all_splits():
    runs = {"random8-split0": RIGHT, "random8-split1": HALF, "random7-split0": HALF, "any8-split0": HALF.tail(3)}
    assert rows(tables.checkpoints_table(runs)) == {
        "`model.pt`": ["4", "1.0000 (1.000 to 1.000)", "0.750", "0.500 to 1.000"],
        "`model_sad_removed.pt`": ["4", "0.5000 (0.000 to 1.000)", "0.500", "0.500 to 0.500"],
        "`model_any_voice.pt`": ["3", "0.3333 (0.000 to 1.000)", "0.333", "0.333 to 0.333"],
    }


def test_groups_are_counted_over_all_folds():
    found = rows(tables.groups_table(RUNS, "speech"))
    values = {name: [cell[:6].strip() for cell in cells] for name, cells in found.items()}
    assert values["all"] == ["0.750", "0.500", "1.000"]
    assert values["women"] == ["1.000", "0.500", "1.000"] and values["men"] == ["0.500", "0.500", "1.000"]
    assert values["women minus men"] == ["+0.500", "+0.000", "+0.000"]
    assert values["lowest actor"] == ["0.500", "0.500", "1.000"] and values["highest actor"][0] == "1.000"
    assert values["happy"] == ["0.750", "0.500", "1.000"] and "calm" not in values
    assert found["women minus men"][0] == "+0.500 (+0.500 to +0.500)", "from draws with women and men"


def test_differences_are_of_the_same_clips():
    runs = {name: pd.concat([run, spoken(RIGHT, 2, "song"), spoken(RIGHT, 3, "song")]) for name, run in RUNS.items()}
    runs["any8-fold0"] = runs["any8-fold0"].iloc[::-1]  # the order of the clips does not matter
    found = rows(tables.differences_table(runs))
    assert [cell[:6] for cell in found["`model_any_voice.pt` minus `model.pt`"]] == ["-0.250", "+0.000"]
    assert found["with `--adapt` minus without"] == ["+0.500 (+0.500 to +0.500)", "+0.000 (+0.000 to +0.000)"]


def test_calibration_has_a_sign_and_no_number_for_a_group_without_clips():
    runs = RUNS | {"random8-split0": spoken(RIGHT, 2), "any8-split0": spoken(HALF, 3, "song")}
    found = rows(tables.calibration_table(runs))
    assert found["all"] == ["-10.0", "+40.0", "+15.0", "+40.0", "-10.0"]
    assert found["men"] == ["", "+40.0", "+40.0", "+40.0", "-10.0"] and found["ECE, pooled"][0] == "0.100"


def test_a_twin_is_the_other_take_in_the_training_part(tmp_path):
    clips = ["03-01-03-01-02-01-07", "03-01-03-01-02-02-08", "03-01-03-01-01-01-08", "03-01-04-01-01-02-09"]
    runs = {f"{name}-split0": HALF.assign(clip=clips) for name in ("random8", "any8")}
    listed = {"03-01-03-01-02-02-07": "training", "03-01-03-01-02-01-08": "validation", clips[2]: "test"}
    for name in runs:
        pd.DataFrame({"clip": listed.keys(), "part": listed.values()}).to_csv(tmp_path / f"{name}.csv")
    share, twin, others = rows(tables.twins_table(runs, tmp_path))["`model.pt` recipe"]
    assert (share, twin) == ("25 %", "1.000 (1.000 to 1.000)") and others.startswith("0.333 (")


def test_a_gain_is_counted_over_folders_and_drawn_by_speaker():
    columns = ["folder", "speaker", "emotion", "recordings", "plain", "adapted"]
    given = [
        ("5 recordings", who, emotion, 4, 2, 4 if who == "a" else 2) for who in "ab" for emotion in ("sad", "calm")
    ]
    found = rows(tables.adaptation_table({"here": pd.DataFrame(given, columns=columns)}))
    assert found == {"5 recordings": ["0.500", "0.750", "+0.250 (+0.000 to +0.500)"]}


def test_robustness_counts_the_points_lost():
    answers = pd.DataFrame({"condition": ["as recorded"] * 4 + ["in a train"] * 4, "clip": [*"abcd"] * 2})
    answers = answers.assign(
        emotion="sad", **{"b.pt": ["sad", "sad", "sad", "happy"] * 2, "a.pt": ["sad"] * 6 + ["", "calm"]}
    )
    assert rows(tables.robustness_table(answers)) == {
        "as recorded": ["0.750", "0.0", "1.000", "0.0"],
        "in a train": ["0.750", "0.0", "0.500", "50.0"],
    }


@pytest.mark.parametrize(
    "clip, said",
    [
        ("03-02-05-01-01-02-13", {"channel": "song", "actor": 13, "sex": "male", "intensity": "normal"}),
        ("03a01Fa", {"speaker": "03", "sex": "male"}),
    ],
)
def test_a_saved_table_is_read_with_what_its_names_say(tmp_path, clip, said):
    RIGHT.head(1).assign(clip=clip).to_csv(tmp_path / "a.csv", index=False)
    (row,) = read_predictions(tmp_path / "a.csv").to_dict("records")
    assert {name: row[name] for name in said} == said and (row["happy"], row["emotion"]) == (0.9, "happy")


def test_only_what_is_between_the_markers_is_replaced():
    document = (
        "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- numbers: y -->\nkept\n<!-- /numbers -->\n<!-- z -->\n<!-- /z -->"
    )
    replaced = with_tables(document, {"x": r"new \1", "w": "nowhere"})
    assert replaced == document.replace("old", r"new \1")
    assert "<!-- z -->\nfirst\n<!-- /z -->" in with_tables(document, {"z": "first"})
    for broken in (document.replace("<!-- /x -->", ""), document + document):
        with pytest.raises(ValueError, match="<!-- x --> must stand at most once, and be closed with <!-- /x -->"):
            with_tables(broken, {"x": "new"})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The documents, and the results behind them."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(REPOSITORY / "results", home / "results", ignore=shutil.ignore_patterns("figures"))
    (home / "docs").mkdir()
    for name in DOCUMENTS:
        shutil.copy(REPOSITORY / name, home / name)
    return home


def test_the_committed_documents_are_what_the_report_writes_and_show_every_table(home):
    write_report(home / "results", home)
    texts = {name: (home / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    assert texts == {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    assert not [name for name in all_tables(home / "results") if f"<!-- {name} -->" not in "".join(texts.values())]
    figures = {path.name for path in (home / "results/figures").iterdir()}
    assert {"schedules.png", "actors.png", "adaptation.png"} <= figures


@pytest.mark.parametrize("missing", ["robustness.csv", "predictions/any8-emodb.csv"])
def test_a_missing_result_is_named_before_anything_is_written(home, missing):
    (home / "results" / missing).rename(home / "kept.csv")
    before = {name: (home / name).read_bytes() for name in DOCUMENTS}
    with pytest.raises(FileNotFoundError, match=missing.split("/")[-1].removesuffix(".csv")):
        write_report(home / "results", home)
    assert {name: (home / name).read_bytes() for name in DOCUMENTS} == before
    (home / "kept.csv").rename(home / "results" / missing)


def test_teaching_is_a_mean_over_draws():
    values = [("a", draw, count, draw + 0.1 * int(count)) for draw in (0, 1) for count in "25"]
    found = rows(teaching_table(pd.DataFrame(values, columns=["task", "draw", "per_emotion", "uar"])))
    assert found == {"a": ["", "", "0.700 (0.23 to 1.18)", "1.000 (0.53 to 1.48)", "", "", ""]}
