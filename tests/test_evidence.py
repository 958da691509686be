"""The numbers in the documents, computed again from the committed files with pandas and scikit-learn alone."""

import re
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from sklearn.metrics import accuracy_score, recall_score

RESULTS = REPOSITORY / "results"
UNSEEN = ("speaker8-fold?", "any8-fold?", "any8-fold?-adapted")
KNOWN = ("random8-split?", "any8-split?")
GERMAN = ("random8-emodb", "any8-emodb", "any8-emodb-adapted")
CLOSE = {"abs": 0.0006}  # three decimals
NEAR = {"abs": 0.02}  # ends of an interval, by other draws


def text_of(document: str, marker: str) -> str:
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker.split(':')[0]} -->"
    return (REPOSITORY / document).read_text(encoding="utf-8").split(begin)[1].split(end)[0].strip()


def rows_of(document: str, marker: str) -> list[list[str]]:
    """The cells of the table between the markers, without its header."""
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in text_of(document, marker).splitlines()[2:]]


def cells_of(document: str, marker: str) -> dict[str, list[str]]:
    return {name: cells for name, *cells in rows_of(document, marker)}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[+-]?\d+\.\d+", text)]


def first(cells: list[str]) -> list[float]:
    return [numbers(cell)[0] for cell in cells if cell]


@cache
def predictions(pattern: str, channel: str | None = None) -> list[pd.DataFrame]:
    """A table for each file, with what the names of RAVDESS, or of EmoDB, say."""
    tables = []
    for path in sorted((RESULTS / "predictions").glob(f"{pattern}.csv")):
        table = pd.read_csv(path).assign(run=path.stem)
        if "emodb" in pattern:
            table["speaker"] = table["clip"].str[:2]
            table["sex"] = np.where(table["speaker"].isin(["08", "09", "13", "14", "16"]), "women", "men")
            table["prediction"] = table["prediction"].replace("calm", "neutral")
        else:
            parts = table["clip"].str.split("-", expand=True).astype(int)
            table["channel"], table["actor"] = np.where(parts[1] == 1, "speech", "song"), parts[6]
            table["sex"] = np.where(parts[6] % 2, "men", "women")
            table["intensity"] = np.where(parts[3] == 1, "normal intensity", "strong intensity")
        tables.append(table if channel is None else table[table["channel"] == channel])
    assert tables, pattern
    return tables


def pooled(pattern: str, channel: str | None = None) -> pd.DataFrame:
    return pd.concat(predictions(pattern, channel), ignore_index=True)


def uar(table: pd.DataFrame) -> float:
    labels = sorted(table["emotion"].unique())
    return recall_score(table["emotion"], table["prediction"], labels=labels, average="macro", zero_division=0)


def accuracy(table: pd.DataFrame) -> float:
    return accuracy_score(table["emotion"], table["prediction"])


def mean(metric, pattern: str, channel: str | None = None) -> float:
    return np.mean([metric(table) for table in predictions(pattern, channel)])


def uars(table: pd.DataFrame, by: str) -> list[float]:
    """Of each group, sorted by its name."""
    return [uar(clips) for _, clips in table.groupby(by)]


def interval(table: pd.DataFrame, metric, by: str, n: int = 300) -> np.ndarray:
    """By drawing rows, which the report never does."""
    rng, rows = np.random.default_rng(1), [group for _, group in table.groupby(by)]
    draws = (rng.integers(len(rows), size=len(rows)) for _ in range(n))
    return np.percentile([metric(pd.concat([rows[number] for number in drawn])) for drawn in draws], [2.5, 97.5])


def women_minus_men(table: pd.DataFrame) -> float:
    men, women = uars(table, "sex")
    return women - men


def overconfidence(table: pd.DataFrame) -> float:
    return 100 * (table.select_dtypes("float").max(axis=1).mean() - accuracy(table))


def with_twins(pattern: str) -> pd.DataFrame:
    """Test clips of all splits, and whether the other take of the sentence was trained on."""
    tables = []
    for table in predictions(pattern):
        split = pd.read_csv(RESULTS / f"splits/{table['run'].iloc[0]}.csv").query("part == 'training'")
        take = table["clip"].str[15:17]
        twin = table["clip"].str[:15] + take.map({"01": "02", "02": "01"}) + table["clip"].str[17:]
        tables.append(table.assign(twin=twin.isin(split["clip"])))
    return pd.concat(tables)


@pytest.mark.parametrize(
    "row, runs, channel",
    [
        ("known voices", KNOWN, None),
        ("unseen actors, speech", UNSEEN, "speech"),
        ("unseen actors, song", UNSEEN, "song"),
        ("German actors (EmoDB)", GERMAN, None),
    ],
)
def test_the_first_table_of_the_readme(row, runs, channel):
    expected = [mean(uar, run, channel) for run in runs]
    assert first(cells_of("README.md", "strangers")[row]) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(
    "file, run", [("model.pt", "random8"), ("model_sad_removed.pt", "random7"), ("model_any_voice.pt", "any8")]
)
def test_the_committed_files_and_the_splits_of_their_recipes(file, run):
    n, own, average, spread = cells_of("README.md", "checkpoints")[f"`{file}`"]
    values = [accuracy(table) for table in predictions(f"{run}-split?")]
    assert numbers(own)[0] == pytest.approx(values[0], abs=0.00006)
    assert float(average) == pytest.approx(np.mean(values), **CLOSE)
    assert numbers(spread) == pytest.approx([min(values), max(values)], **CLOSE)
    assert int(n) == len(predictions(f"{run}-split0")[0])
    reach = 1.96 * np.sqrt(values[0] * (1 - values[0]) / int(n))
    assert numbers(own)[1:] == pytest.approx([values[0] - reach, values[0] + reach], abs=0.01)


@pytest.mark.parametrize(
    "row, run, channel, by",
    [
        ("`model.pt`: known voices, song", "random8-split?", "song", "clip"),
        ("`model.pt`: unseen actors, speech", UNSEEN[0], "speech", "actor"),
        ("`model_any_voice.pt`: unseen actors, song", UNSEEN[1], "song", "actor"),
        ("with `--adapt`: unseen actors, song", UNSEEN[2], "song", "actor"),
        ("`model_any_voice.pt`: shuffled labels", "any8-split0-shuffled", None, "clip"),
    ],
)
def test_all_runs(row, run, channel, by):
    runs, n, *measured = cells_of("results/README.md", "runs")[row]
    tables = predictions(run, channel)
    assert (int(runs), int(n)) == (len(tables), sum(map(len, tables)))
    for metric, value, spread in zip((uar, accuracy), measured[::2], measured[1::2], strict=True):
        values = [metric(table) for table in tables]
        assert numbers(value)[0] == pytest.approx(np.mean(values), **CLOSE)
        assert numbers(spread) == pytest.approx([min(values), max(values)] if len(values) > 1 else [], **CLOSE)
    if by == "actor":
        assert numbers(measured[0])[1:] == pytest.approx(interval(pd.concat(tables), uar, by), **NEAR)


@pytest.mark.parametrize(
    "document, marker, runs, channel, by",
    [
        ("MODEL_CARD.md", "speech", UNSEEN, "speech", "actor"),
        ("MODEL_CARD.md", "song", UNSEEN, "song", "actor"),
        ("results/README.md", "emodb", GERMAN, None, "speaker"),
    ],
)
def test_groups(document, marker, runs, channel, by):
    found, tables = cells_of(document, marker), [pooled(run, channel) for run in runs]
    assert first(found["all"]) == pytest.approx(list(map(uar, tables)), **CLOSE)
    for column in tables[0].columns.intersection(["sex", "intensity", "emotion"]):
        for group in tables[0][column].unique():
            expected = [uar(table[table[column] == group]) for table in tables]
            assert first(found[group]) == pytest.approx(expected, **CLOSE), group
    people = np.array([uars(table, by) for table in tables])
    assert first(found[f"lowest {by}"]) == pytest.approx(people.min(axis=1), **CLOSE)
    assert first(found[f"highest {by}"]) == pytest.approx(people.max(axis=1), **CLOSE)
    if by == "actor":
        assert first(found["median actor"]) == pytest.approx(np.median(people, axis=1), **CLOSE)
        difference, *ends = numbers(found["women minus men"][1])
        assert difference == pytest.approx(women_minus_men(tables[1]), **CLOSE)
        assert ends == pytest.approx(interval(tables[1], women_minus_men, by), abs=0.03)


@pytest.mark.parametrize("column, channel", [(0, "speech"), (1, "song")])
def test_differences_between_configurations(column, channel):
    found = [numbers(cells[column])[0] for cells in cells_of("MODEL_CARD.md", "differences").values()]
    cnn, any_voice, adapted = (uar(pooled(run, channel)) for run in UNSEEN)
    assert found == pytest.approx([any_voice - cnn, adapted - any_voice, adapted - cnn], **CLOSE)


def test_recall_by_sex_and_emotion_and_how_uncertain_it_is():
    half_widths = []
    for emotion, (n, *cells) in cells_of("MODEL_CARD.md", "intersections").items():
        tables = [table[table["emotion"] == emotion] for table in (pooled(run, "speech") for run in UNSEEN)]
        parts = [table[table["sex"] == sex] for table in tables for sex in ("women", "men")]
        assert {len(part) for part in parts} == {int(n)}
        assert first(cells) == pytest.approx(list(map(accuracy, parts)), **CLOSE)
        for part in parts:  # of the same number of clips by each actor
            actors = (part["emotion"] == part["prediction"]).groupby(part["actor"]).mean().to_numpy()
            draws = np.random.default_rng(0).choice(actors, (2000, len(actors))).mean(axis=1)
            half_widths.append(np.subtract(*np.percentile(draws, [97.5, 2.5])) / 2)
    said = numbers(text_of("MODEL_CARD.md", "numbers: cells"))
    assert said == pytest.approx([np.median(half_widths), max(half_widths)], abs=0.011)


def test_twins():
    found = cells_of("MODEL_CARD.md", "twins")
    for run, (row, (share, *cells)) in zip(KNOWN, found.items(), strict=True):
        table = with_twins(run)
        assert share == f"{100 * table['twin'].mean():.0f} %", row
        expected = [accuracy(table[table["twin"]]), accuracy(table[~table["twin"]])]
        assert first(cells) == pytest.approx(expected, **CLOSE)


def test_calibration_is_pooled_and_signed():
    tables = [pooled(run) for run in (*KNOWN, *UNSEEN)]
    found = cells_of("MODEL_CARD.md", "calibration")
    for row, column, group in (
        ("song", "channel", "song"),
        ("men", "sex", "men"),
        ("true sad", "emotion", "sad"),
        ("predicted happy", "prediction", "happy"),
    ):
        expected = [overconfidence(table[table[column] == group]) for table in tables]
        assert first(found[row]) == pytest.approx(expected, abs=0.06)
    assert first(found["all"]) == pytest.approx(list(map(overconfidence, tables)), abs=0.06)
    for table, cell in zip(tables, found["ECE, pooled"], strict=True):
        confidence = table.select_dtypes("float").max(axis=1)
        gap = confidence - (table["emotion"] == table["prediction"])
        bins = gap.groupby((confidence * 15).astype(int).clip(upper=14))
        assert float(cell) == pytest.approx((bins.mean().abs() * bins.size()).sum() / len(table), **CLOSE)


def test_emodb_intervals_calibration_and_gain():
    found, tables = cells_of("results/README.md", "emodb"), [pooled(run) for run in GERMAN]
    for cell, table in zip(found["all"], tables, strict=True):
        assert numbers(cell)[1:] == pytest.approx(interval(table, uar, "speaker"), **NEAR)
    assert first(found["confidence minus accuracy"]) == pytest.approx(list(map(overconfidence, tables)), abs=0.06)
    gain, *ends = numbers(found["with `--adapt` minus without"][2])
    assert gain == pytest.approx(uar(tables[2]) - uar(tables[1]), **CLOSE)
    both = tables[2].assign(plain=tables[1]["prediction"])
    by_speaker = interval(both, lambda table: uar(table) - uar(table.assign(prediction=table["plain"])), "speaker")
    assert ends == pytest.approx(by_speaker, **NEAR)


def test_the_folds_that_choices_saw():
    seen, others, difference = (numbers(cell)[0] for (cell,) in cells_of("results/README.md", "choices").values())
    folds = predictions(UNSEEN[1], "speech")
    assert seen == pytest.approx(uar(pd.concat(folds[1:4])), **CLOSE)
    assert others == pytest.approx(uar(pd.concat([folds[0], folds[4]])), **CLOSE)
    assert difference == pytest.approx(seen - others, abs=0.0011)


EMOBOX_ACTORS = [  # as in the test lists of its repository
    {1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18}, {6, 13, 17, 22},
]  # fmt: skip


@pytest.mark.parametrize(
    "row, run",
    [
        ("logistic regression on the embeddings of `model_any_voice.pt`", "baseline-emobox?"),
        ("the same, standardised by actor", "baseline-emobox?-adapted"),
        ("`model_any_voice.pt` recipe, trained on speech alone", "any8-emobox?-spoken"),
        ("the same with `--adapt`", "any8-emobox?-spoken-adapted"),
        ("`model_any_voice.pt` recipe, also trained on song and nEMO", "any8-emobox?"),
        ("also trained on song and nEMO, with `--adapt`", "any8-emobox?-adapted"),
    ],
)
def test_emobox(row, run):
    tables = predictions(run)
    assert [set(table["actor"]) for table in tables] == EMOBOX_ACTORS
    for table, actors in zip(tables, EMOBOX_ACTORS, strict=True):
        assert len(set(table["clip"])) == len(table) == 240 and set(table["channel"]) == {"speech"}
        name = table["run"].iloc[0].removesuffix("-adapted")
        if name.startswith("baseline"):  # with the splits of the runs on speech alone
            name = f"{name.replace('baseline', 'any8')}-spoken"
        split = pd.read_csv(RESULTS / f"splits/{name}.csv").groupby("part")["clip"].agg(set)
        assert split["test"] == set(table["clip"])
        trained_on = {clip for clip in split["training"] if clip.startswith("03-0")}
        assert not {int(clip[-2:]) for clip in trained_on} & actors
        channels, n_others = {clip[:5] for clip in trained_on}, len(split["training"] - trained_on)
        assert (channels, n_others) == (({"03-01"}, 0) if "spoken" in name else ({"03-01", "03-02"}, 4481))
    average, reach, spread = cells_of("results/README.md", "emobox")[row]
    values = [uar(table) for table in tables]
    assert float(average) == pytest.approx(np.mean(values), **CLOSE)
    assert numbers(spread) == pytest.approx([min(values), max(values)], **CLOSE)
    assert numbers(reach) == pytest.approx(interval(pd.concat(tables), uar, "actor", n=150), abs=0.025)


def test_adaptation_by_kind_of_folder():
    ravdess, emodb = (pd.read_csv(RESULTS / f"adaptation-{corpus}.csv") for corpus in ("ravdess", "emodb"))
    for kind, cells in cells_of("MODEL_CARD.md", "adaptation").items():
        expected = []
        for table in (ravdess, emodb):
            counts = table[table["folder"] == kind].groupby("emotion")[["recordings", "plain", "adapted"]].sum()
            plain, adapted = ((counts[answers] / counts["recordings"]).mean() for answers in ("plain", "adapted"))
            expected += [plain, adapted, adapted - plain]
        assert first(cells) == pytest.approx(expected, **CLOSE), kind
        assert all(low <= gain <= high for gain, low, high in map(numbers, cells[2::3]))
    # All recordings of a speaker at once are what the prediction files hold, apart from the song of RAVDESS's actors.
    for counts, answers, run, channel in (
        (ravdess, "plain", UNSEEN[1], "speech"),
        (emodb, "plain", GERMAN[1], None),
        (emodb, "adapted", GERMAN[2], None),
    ):
        right = pooled(run, channel).query("prediction == emotion")
        assert counts.query("folder == 'all recordings'")[answers].sum() == len(right)


def test_folders_of_all_speakers_at_once():
    found = [(corpus, folder, *map(float, cells)) for corpus, folder, *cells in rows_of("MODEL_CARD.md", "together")]
    expected = pd.read_csv(RESULTS / "adaptation-together.csv").groupby(["corpus", "folder"], sort=False)
    expected = expected[["plain", "together", "by folder"]].mean().reset_index()
    pd.testing.assert_frame_equal(pd.DataFrame(found, columns=expected.columns), expected, rtol=0, atol=CLOSE["abs"])


def test_teaching_by_the_number_of_clips():
    table = pd.read_csv(RESULTS / "teaching.csv")
    found = cells_of("docs/own-labels.md", "own")
    assert list(found) == list(table["task"].unique())
    for task, cells in found.items():
        values = dict(iter(table[table["task"] == task].groupby("per_emotion")["uar"]))
        for count, cell in zip(("0, eight emotions", "0", "2", "5", "10", "25", "all"), cells, strict=True):
            assert bool(cell) == (count in values)
            if cell:
                middle, *ends = numbers(cell)
                assert middle == pytest.approx(values[count].mean(), **CLOSE)
                assert ends == pytest.approx(np.percentile(values[count], [2.5, 97.5]), abs=0.006)


def said_of_teaching() -> list[float]:
    uars = pd.read_csv(RESULTS / "teaching.csv").groupby(["task", "per_emotion"])["uar"].mean()
    tasks = ("EmoDB, other speakers", "URDU, other speakers", "EmoDB, one's own voice")
    return [uars[task, count] for task in tasks for count in ("0, eight emotions", "0", "5")]


def test_timelines_of_long_recordings():
    found = cells_of("results/README.md", "conversations")
    answers = pd.read_csv(RESULTS / "conversations.csv").replace("calm", "neutral")
    for kind, rows in answers.groupby("kind"):
        recordings, clips, *shares, start, missed = found[kind]
        assert (int(recordings), int(clips)) == (rows["recording"].nunique(), len(rows))
        expected = [uar(rows.assign(prediction=rows[column])) for column in ("alone", "in_noise", "timeline")]
        assert first(shares) == pytest.approx(expected, **CLOSE)
        assert start == f"{rows['start_error_s'].median():.2f} s"
        assert missed == f"{rows['missed_s'].sum() / rows['heard_s'].sum():.1%}"


def test_the_detector_keeps_as_many_voices_as_the_documents_say():
    kept = pd.read_csv(RESULTS / "speech.csv")
    assert kept.groupby("corpus")["clip"].nunique().to_dict() == {"RAVDESS": 2452, "EmoDB": 535}
    shares = 100 * kept.groupby("corpus", sort=False)[["quiet", "in_noise"]].mean()
    said = re.findall(r"\| ([\d.]+) % \|", text_of("docs/eval.md", "detector"))
    assert [float(share) for share in said] == pytest.approx(shares.to_numpy().ravel(), abs=0.051)
    card = (REPOSITORY / "MODEL_CARD.md").read_text(encoding="utf-8")
    (refused,) = re.findall(r"refuses ([\d.]+) % of RAVDESS", card)
    assert float(refused) == pytest.approx(100 - shares.loc["RAVDESS", "quiet"], abs=0.051)


@pytest.mark.parametrize(
    "file, columns, place",
    [("robustness", ["model.pt", "model_any_voice.pt"], 0), ("robustness-unseen", ["plain", "adapted"], 4)],
)
def test_robustness_matches_the_committed_predictions(file, columns, place):
    answers = pd.read_csv(RESULTS / f"{file}.csv", keep_default_na=False)
    right = answers[columns].eq(answers["emotion"], axis=0).groupby(answers["condition"], sort=False).mean()
    lost = 100 * (right.loc["as recorded"] - right)
    found = cells_of("MODEL_CARD.md", "robustness")
    assert list(found) == list(right.index)
    for condition, cells in found.items():
        assert first(cells[place : place + 4 : 2]) == pytest.approx(right.loc[condition].tolist(), **CLOSE)
        assert first(cells[place + 1 : place + 4 : 2]) == pytest.approx(lost.loc[condition].tolist(), abs=0.06)


def test_robustness_for_unseen_voices_begins_with_the_predictions_of_the_folds():
    """Nearly: the clips have passed the high-pass before the conditions are applied."""
    answers = pd.read_csv(RESULTS / "robustness-unseen.csv").query("condition == 'as recorded'").set_index("clip")
    folds = pooled(UNSEEN[1], "speech").set_index("clip")
    assert len(answers) == len(folds) == 1440
    assert (answers["plain"].sort_index() == folds["prediction"].sort_index()).mean() > 0.98


def test_the_spread_over_seeds():
    runs = [run.replace("?", "0{}") for run in UNSEEN[1:]]
    found = cells_of("results/README.md", "seeds").values()
    for cells, (run, channel) in zip(found, product(runs, ("speech", "song")), strict=True):
        values = [uar(predictions(run.format(seed), channel)[0]) for seed in ("", "-seed1", "-seed2")]
        assert first(cells) == pytest.approx([*values, np.std(values, ddof=1)], **CLOSE)


def said_of_men() -> list[float]:
    spoken, adapted, german = pooled(UNSEEN[1], "speech"), pooled(UNSEEN[2], "speech"), pooled(GERMAN[1])
    rows = [cells_of("MODEL_CARD.md", channel)["women minus men"] for channel in ("speech", "song")]
    by_sex, by_sex_in_song = (numbers(row[1]) for row in rows)  # which test_groups computes again
    actors = uars(spoken, "actor")
    differences = [*uars(spoken, "sex"), *by_sex, *uars(adapted, "sex"), *uars(german, "sex"), *by_sex_in_song]
    return [*differences, min(actors), max(actors)]


def said_of_speed() -> list[float]:
    ms = pd.read_csv(RESULTS / "speed.csv").drop_duplicates("command", keep="last").set_index("command")["ms_per_clip"]
    return [
        ms["eval.py"],
        ms["the usual loop"] / ms["eval.py"],
        ms["the usual loop, 16-bit WAV"] / ms["eval.py, 16-bit WAV"],
        ms["transformers' pipeline, one thread"] / ms["eval.py, any voice, one thread"],
    ]


SAID = {  # what the marked paragraphs say, in their order
    "twins": lambda: [accuracy(with_twins(run).query(f"twin == {twin}")) for run in KNOWN for twin in (True, False)],
    "men": said_of_men,
    "speed": said_of_speed,
    "teaching": said_of_teaching,
}


@pytest.mark.parametrize(
    "document", ["README.md", "MODEL_CARD.md", "docs/own-labels.md", "docs/scale.md", "results/README.md"]
)
def test_numbers_in_sentences(document):
    names = re.findall(r"<!-- numbers: (\w+) -->", (REPOSITORY / document).read_text(encoding="utf-8"))
    for name in {*names} - {"known", "unseen", "cells"}:
        tolerance = {"abs": 0.051} if name == "speed" else CLOSE
        assert numbers(text_of(document, f"numbers: {name}")) == pytest.approx(SAID[name](), **tolerance), name


def test_the_numbers_beside_those_of_others():
    known, spoken = mean(accuracy, KNOWN[0]), mean(accuracy, KNOWN[0], "speech")
    cnn, any_voice = (mean(uar, run, "speech") for run in UNSEEN[:2])
    for name, expected in (
        ("known", [known, known, spoken, spoken, spoken]),
        ("unseen", [cnn, cnn, any_voice, mean(accuracy, UNSEEN[1], "speech")]),
    ):
        *_, here = zip(*rows_of("results/README.md", f"numbers: {name}"), strict=True)
        assert first(here) == pytest.approx(expected, **CLOSE)


def test_the_documents_stay_short():
    for document, most in (("README.md", 210), ("results/README.md", 226)):
        assert len((REPOSITORY / document).read_text(encoding="utf-8").splitlines()) <= most
