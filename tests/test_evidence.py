"""The numbers in the documents, computed again from the committed files with pandas and scikit-learn alone."""

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from evidence import (
    CLOSE,
    NEAR,
    RESULTS,
    RUNS,
    accuracy,
    cells_of,
    confidence,
    ece,
    emodb,
    first,
    interval,
    numbers,
    pooled,
    predictions,
    uar,
)


def test_the_first_table_of_the_readme():
    found = cells_of("README.md", "strangers")
    known = [
        np.mean([uar(table) for table in predictions(pattern)]) for pattern in ("random8-split?.csv", "any8-split?.csv")
    ]
    assert first(found["known voices"][:2]) == pytest.approx(known, **CLOSE)
    for channel in ("speech", "song"):
        means = [np.mean([uar(table) for table in predictions(pattern, channel)]) for pattern in RUNS.values()]
        assert first(found[f"unseen actors, {channel}"]) == pytest.approx(means, **CLOSE)
    german = [uar(emodb(name)) for name in ("random8-emodb", "any8-emodb", "any8-emodb-adapted")]
    assert first(found["German actors (EmoDB)"]) == pytest.approx(german, **CLOSE)


def test_the_committed_files_and_the_splits_of_their_recipes():
    for file, pattern in (("model.pt", "random8"), ("model_sad_removed.pt", "random7"), ("model_any_voice.pt", "any8")):
        n, own, mean, spread = cells_of("README.md", "checkpoints")[f"`{file}`"]
        values = [accuracy(table) for table in predictions(f"{pattern}-split?.csv")]
        assert numbers(own)[0] == pytest.approx(values[0], abs=0.00006) and float(mean) == pytest.approx(
            np.mean(values), **CLOSE
        )
        assert numbers(spread) == pytest.approx([min(values), max(values)], **CLOSE)
        (table,) = predictions(f"{pattern}-split0.csv")
        assert int(n) == len(table)
        reach = 1.96 * np.sqrt(values[0] * (1 - values[0]) / len(table))
        assert numbers(own)[1:] == pytest.approx([values[0] - reach, values[0] + reach], abs=0.01)


@pytest.mark.parametrize("marker, metric", [("uar", uar), ("accuracy", accuracy)])
def test_all_runs(marker, metric):
    found = cells_of("results/README.md", marker)
    for row, pattern, channel, by in (
        ("`model.pt`: known voices, song", "random8-split?.csv", "song", "clip"),
        ("`model.pt`: unseen actors, speech", RUNS["CNN"], "speech", "actor"),
        ("`model_any_voice.pt`: unseen actors, song", RUNS["any voice"], "song", "actor"),
        ("with `--adapt`: unseen actors, song", RUNS["adapted"], "song", "actor"),
        ("`model_any_voice.pt`: shuffled labels", "any8-split0-shuffled.csv", None, "clip"),
    ):
        runs, n, value, spread = found[row]
        tables = predictions(pattern, channel)
        values = [metric(table) for table in tables]
        assert (int(runs), int(n)) == (len(tables), sum(map(len, tables)))
        assert numbers(value)[0] == pytest.approx(np.mean(values), **CLOSE)
        if len(tables) > 1:
            assert numbers(spread) == pytest.approx([min(values), max(values)], **CLOSE)
        if by == "actor":
            assert numbers(value)[1:] == pytest.approx(interval(pd.concat(tables), metric, by), **NEAR)


@pytest.mark.parametrize("channel", ["speech", "song"])
def test_groups(channel):
    found = cells_of("MODEL_CARD.md", channel)
    tables = [pooled(run, channel) for run in RUNS]
    assert first(found["all"]) == pytest.approx([uar(table) for table in tables], **CLOSE)
    for part, groups in (("sex", ("women", "men")), ("intensity", ("normal", "strong"))):
        for group in groups:
            expected = [uar(table[table[part] == group]) for table in tables]
            assert first(found[group if part == "sex" else f"{group} intensity"]) == pytest.approx(expected, **CLOSE)
    for emotion in tables[0]["emotion"].unique():
        expected = [accuracy(table[table["emotion"] == emotion]) for table in tables]
        assert first(found[emotion]) == pytest.approx(expected, **CLOSE)
    for number, table in enumerate(tables):
        actors = [uar(clips) for _, clips in table.groupby("actor")]
        assert [float(found[f"{name} actor"][number]) for name in ("lowest", "median", "highest")] == pytest.approx(
            [min(actors), np.median(actors), max(actors)], **CLOSE
        )
        women, men = (uar(table[table["sex"] == sex]) for sex in ("women", "men"))
        difference, low, high = numbers(found["women minus men"][number])
        assert difference == pytest.approx(women - men, **CLOSE)
        drawn = interval(table, lambda t: uar(t[t["sex"] == "women"]) - uar(t[t["sex"] == "men"]), "actor")
        assert [low, high] == pytest.approx(drawn, **NEAR)


def test_differences_and_intersections():
    found = cells_of("MODEL_CARD.md", "differences")
    for column, channel in enumerate(("speech", "song")):
        for row, (one, other) in {
            "`model_any_voice.pt` minus `model.pt`": ("any voice", "CNN"),
            "with `--adapt` minus without": ("adapted", "any voice"),
            "with `--adapt` minus `model.pt`": ("adapted", "CNN"),
        }.items():
            both = pooled(one, channel).merge(
                pooled(other, channel)[["clip", "prediction"]], on="clip", suffixes=("", " 2")
            )

            def difference(table: pd.DataFrame) -> float:
                return uar(table) - uar(table.assign(prediction=table["prediction 2"]))

            value, *ends = numbers(found[row][column])
            assert value == pytest.approx(difference(both), **CLOSE)
            assert ends == pytest.approx(interval(both, difference, "actor"), **NEAR)
    for emotion, (n, *cells) in cells_of("MODEL_CARD.md", "intersections").items():
        parts = [table[(table["emotion"] == emotion) & (table["sex"] == sex)]
                 for table in (pooled(run, "speech") for run in RUNS) for sex in ("women", "men")]  # fmt: skip
        assert {len(part) for part in parts} == {int(n)}
        assert [float(cell) for cell in cells] == pytest.approx([accuracy(part) for part in parts], **CLOSE)


def test_calibration_is_pooled_and_signed():
    tables = [pooled(run) for run in ("random8-split?.csv", "any8-split?.csv", *RUNS)]
    found = cells_of("MODEL_CARD.md", "calibration")
    for row, choose in (
        ("all", lambda table: table["clip"] == table["clip"]),
        ("song", lambda table: table["channel"] == "song"),
        ("men", lambda table: table["sex"] == "men"),
        ("true sad", lambda table: table["emotion"] == "sad"),
        ("predicted happy", lambda table: table["prediction"] == "happy"),
    ):
        expected = []
        for table in tables:
            chosen = table[choose(table)]
            expected.append(100 * (confidence(chosen).mean() - accuracy(chosen)))
        assert [float(cell) for cell in found[row]] == pytest.approx(expected, abs=0.06)
    assert [float(cell) for cell in found["ECE, pooled"]] == pytest.approx([ece(table) for table in tables], **CLOSE)
    published = cells_of("results/README.md", "temperature")["as published"]
    assert [float(cell) for cell in published] == pytest.approx([ece(table) for table in tables[2:]], **CLOSE)


def test_emodb_by_speaker_and_the_folds_that_choices_saw():
    found = cells_of("results/README.md", "emodb")
    tables = [emodb(name) for name in ("random8-emodb", "any8-emodb", "any8-emodb-adapted")]
    for (cell,), table in zip(found.values(), tables, strict=False):
        value, *ends = numbers(cell)
        assert value == pytest.approx(uar(table), **CLOSE)
        assert ends == pytest.approx(interval(table, uar, "speaker"), **NEAR)
    gain = numbers(found["with `--adapt` minus without"][0])[0]
    assert gain == pytest.approx(uar(tables[2]) - uar(tables[1]), **CLOSE)
    seen, others, difference = (numbers(cell)[0] for (cell,) in cells_of("results/README.md", "choices").values())
    folds = [predictions(f"any8-fold{fold}.csv", "speech")[0] for fold in range(5)]
    assert seen == pytest.approx(uar(pd.concat(folds[1:4])), **CLOSE)
    assert others == pytest.approx(uar(pd.concat([folds[0], folds[4]])), **CLOSE)
    assert difference == pytest.approx(seen - others, abs=0.0011)


EMOBOX_ACTORS = [  # as in the test lists of its repository
    {1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18}, {6, 13, 17, 22},
]  # fmt: skip


@pytest.mark.parametrize(
    "row, run, column",
    [
        ("`model.pt` recipe, trained on speech alone", "speaker8-emobox?-spoken", 4),
        ("`model_any_voice.pt` recipe, trained on speech alone", "any8-emobox?-spoken", 5),
        ("the same with `--adapt`", "any8-emobox?-spoken-adapted", 6),
        ("`model_any_voice.pt` recipe, also trained on song and nEMO", "any8-emobox?", None),
        ("also trained on song and nEMO, with `--adapt`", "any8-emobox?-adapted", None),
    ],
)
def test_emobox(row, run, column):
    tables = predictions(f"{run}.csv")
    assert [set(table["actor"]) for table in tables] == EMOBOX_ACTORS
    for number, (table, actors) in enumerate(zip(tables, EMOBOX_ACTORS, strict=True)):
        assert len(set(table["clip"])) == len(table) == 240 and set(table["channel"]) == {"speech"}
        name = run.removesuffix("-adapted").replace("?", str(number))
        split = pd.read_csv(RESULTS / f"splits/{name}.csv").groupby("part")["clip"].agg(set)
        assert split["test"] == set(table["clip"])
        trained_on = [clip.split("-") for clip in split["training"] if clip.startswith("03-0")]
        assert not {int(parts[6]) for parts in trained_on} & actors
        channels, n_others = {parts[1] for parts in trained_on}, len(split["training"]) - len(trained_on)
        assert (channels, n_others) == (({"01"}, 0) if "spoken" in run else ({"01", "02"}, 4481))
    mean, reach, spread = cells_of("results/README.md", "emobox")[row]
    values = [uar(table) for table in tables]
    assert float(mean) == pytest.approx(np.mean(values), **CLOSE)
    assert numbers(spread) == pytest.approx([min(values), max(values)], **CLOSE)
    assert numbers(reach) == pytest.approx(interval(pd.concat(tables), uar, "actor"), **NEAR)
    if column:
        assert cells_of("README.md", "emobox")["UAR"][column] == mean


def test_adaptation_by_kind_of_folder():
    found = cells_of("MODEL_CARD.md", "adaptation")
    for column, corpus in enumerate(("ravdess", "emodb")):
        table = pd.read_csv(RESULTS / f"adaptation-{corpus}.csv", dtype={"speaker": str})
        assert list(table["folder"].unique()) == list(found)
        for kind, cells in found.items():
            counts = table[table["folder"] == kind].groupby("emotion")[["recordings", "plain", "adapted"]].sum()
            plain, adapted = ((counts[answers] / counts["recordings"]).mean() for answers in ("plain", "adapted"))
            said = numbers(" ".join(cells[3 * column : 3 * column + 3]))
            assert said[:3] == pytest.approx([plain, adapted, adapted - plain], **CLOSE)
            assert said[3] <= said[2] <= said[4]
    # All recordings of a speaker at once is what train.py emodb does.
    everything = pd.read_csv(RESULTS / "adaptation-emodb.csv").query("folder == 'all recordings'")
    for answers, name in (("plain", "any8-emodb"), ("adapted", "any8-emodb-adapted")):
        assert everything[answers].sum() == (emodb(name)["prediction"] == emodb(name)["emotion"]).sum()


def test_own_labels_over_partitions():
    answers = pd.read_csv(RESULTS / "own-labels-emodb.csv", dtype={"partition": str})
    inner, outer, drawn = (numbers(cell) for (cell,) in cells_of("docs/own-labels.md", "own").values())
    parts = {name: table.assign(speaker=table["clip"].str[:2]) for name, table in answers.groupby("partition")}
    for name, found in (("README, inner", inner), ("README", outer)):
        table = parts.pop(name)
        assert found[0] == pytest.approx(uar(table), **CLOSE)
        assert found[1:] == pytest.approx(interval(table, uar, "speaker"), **NEAR)
    values = [uar(table) for table in parts.values()]
    assert drawn == pytest.approx([np.mean(values), np.std(values, ddof=1), min(values), max(values)], **CLOSE)
    for table in parts.values():
        assert not set(table["learned"].iloc[0].split()) & set(table["speaker"]), "nobody is on both sides"


def test_timelines_of_long_recordings():
    answers = pd.read_csv(RESULTS / "conversations.csv")
    found = cells_of("results/README.md", "conversations")
    assert list(found) == list(answers["kind"].unique())
    for kind, rows in answers.groupby("kind"):
        recordings, clips, *shares, start, missed = (cell for cell in found[kind])
        assert (int(recordings), int(clips)) == (rows["recording"].nunique(), len(rows))
        expected = [
            uar(rows.assign(prediction=rows[column].replace("calm", "neutral")))
            for column in ("alone", "in_noise", "timeline")
        ]
        assert list(map(float, shares)) == pytest.approx(expected, **CLOSE)
        assert float(start.removesuffix(" s")) == round(rows["start_error_s"].median(), 2)
        assert missed == f"{rows['missed_s'].sum() / rows['heard_s'].sum():.1%}"


def test_robustness_matches_the_committed_predictions():
    answers = pd.read_csv(RESULTS / "robustness.csv", keep_default_na=False)
    found = cells_of("MODEL_CARD.md", "robustness")
    assert list(found) == list(answers["condition"].unique())
    for condition, rows in answers.groupby("condition"):
        shares = [(rows["emotion"] == rows[model]).mean() for model in ("model.pt", "model_any_voice.pt")]
        assert [float(cell) for cell in found[condition][::2]] == pytest.approx(shares, **CLOSE)


def test_sentences_in_the_readme_have_the_numbers_of_the_tables():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    men = numbers(text.split("<!-- men -->")[1].split("<!-- /men -->")[0])
    card = cells_of("MODEL_CARD.md", "speech")
    any_voice = [numbers(card[row][1]) for row in ("men", "women", "women minus men")]
    adapted = [numbers(card[row][2])[0] for row in ("men", "women")]
    actors = [float(card[row][1]) for row in ("lowest actor", "highest actor")]
    assert men == [any_voice[0][0], any_voice[1][0], *any_voice[2], *adapted, *actors]


def test_the_limit_for_one_sided_folders_is_that_of_the_development_fold():
    table = pd.read_csv(RESULTS / "development.csv").set_index(["clips", "folder"])
    text = (REPOSITORY / "MODEL_CARD.md").read_text(encoding="utf-8").split("<!-- safeguard -->")[1].split("<!-- /")[0]
    one = table.loc["speech", "100 % one emotion"]
    ten, loud = (table.loc[clips, "10 recordings"] for clips in ("speech", "speech, babble, 10 dB"))
    all_loud = table.loc["speech, babble, 10 dB", "all recordings"]
    half, lower = "unless 0.5 is one emotion", "unless 0.4 is one emotion"
    expected = [one["always"], one[half], one["plain"], ten["always"], ten[half], loud["always"], loud[half]]
    expected += [0.4, one[lower], all_loud[lower], all_loud[half]]
    assert numbers(text.replace("10 dB", "")) == pytest.approx(expected, **CLOSE)


def test_the_readme_stays_short():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) < 190
