"""The tables of the documents in Markdown, each from the committed files under results/."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pandas as pd

from speech_emotion.corpora import ravdess
from speech_emotion.corpora.foreign import EMODB
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.evaluation.metrics import (
    accuracy,
    bootstrap_interval,
    expected_calibration_error,
    label_columns,
    mean_recall,
    uar,
)
from speech_emotion.models.published import PUBLISHED

Runs = dict[str, pd.DataFrame]  # name of the run → its predictions, as read_predictions returns them

CHANNELS = ("speech", "song")
# The configurations that are compared, and their runs (regular expressions, without the number of the split or fold).
KNOWN = {"`model.pt`": "random8-split", "`model_any_voice.pt`": "any8-split"}
UNSEEN = {
    "`model.pt` recipe": "speaker8-fold",
    "`model_any_voice.pt` recipe": "any8-fold",
    "same with `--adapt`": r"any8-fold\d-adapted",
}
GERMAN = dict(zip(UNSEEN, ("random8-emodb", "any8-emodb", "any8-emodb-adapted"), strict=True))
# Folds whose test actors served as validation actors while the any-voice recipe was chosen: see results/README.md.
CHOSEN_ON = (1, 2, 3)
SEEDS = ("", "-seed1", "-seed2")  # as in the names of runs
SEXES = (("women", "sex", "female"), ("men", "sex", "male"))  # name of the row, column, value

# UA in Table 4 of Ma et al. (2024), for frozen encoders under a small network: the recall of eight emotions, averaged.
EMOBOX = {"Whisper-large-v3": 0.753, "WavLM-large": 0.720, "HuBERT-base": 0.654, "WavLM-base": 0.616}
EMOBOX_RUNS = {
    "logistic regression on the embeddings of `model_any_voice.pt`": r"baseline-emobox\d",
    "the same, standardised by actor": r"baseline-emobox\d-adapted",
    "`model_any_voice.pt` recipe, trained on speech alone": r"any8-emobox\d-spoken",
    "the same with `--adapt`": r"any8-emobox\d-spoken-adapted",
    "`model_any_voice.pt` recipe, also trained on song and nEMO": r"any8-emobox\d",
    "also trained on song and nEMO, with `--adapt`": r"any8-emobox\d-adapted",
}
QUESTIONS = (  # name, runs, channels, and what is resampled for the interval
    ("`model.pt`: known voices", "random8-split", (None, *CHANNELS), "clip"),
    ("`model_sad_removed.pt`: known voices", "random7-split", (None,), "clip"),
    ("`model.pt`: unseen actors", "speaker8-fold", CHANNELS, "actor"),
    ("`model.pt`: shuffled labels", "random8-split0-shuffled", (None,), "clip"),
    ("`model_any_voice.pt`: known voices", "any8-split", (None, *CHANNELS), "clip"),
    ("`model_any_voice.pt`: unseen actors", "any8-fold", CHANNELS, "actor"),
    ("with `--adapt`: unseen actors", r"any8-fold\d-adapted", CHANNELS, "actor"),
    ("`model_any_voice.pt`: shuffled labels", "any8-split0-shuffled", (None,), "clip"),
)
BRIEFLY = tuple(  # without the controls, and of unseen actors only speech
    (question, prefix, ("speech",) if by == "actor" else (None,), by)
    for question, prefix, _, by in QUESTIONS
    if not prefix.endswith("shuffled")
)


def all_tables(results: Path) -> dict[str, str]:
    """Every table by the marker under which a document can show it.

    Raises FileNotFoundError if a result is missing.
    """
    adaptation = read_adaptation(results)
    robustness, unseen, conversations = (
        pd.read_csv(results / f"{name}.csv") for name in ("robustness", "robustness-unseen", "conversations")
    )
    runs = {path.stem: read_predictions(path) for path in sorted((results / "predictions").glob("*.csv"))}
    prefixes = (*KNOWN.values(), *UNSEEN.values(), *EMOBOX_RUNS.values(), *GERMAN.values())
    if missing := [prefix for prefix in prefixes if not tables_of(runs, prefix)]:
        raise FileNotFoundError(
            f"there is no {missing[0]} in {results}/predictions; results/README.md names the command that writes it"
        )
    return {
        "strangers": strangers_table(runs),
        "checkpoints": checkpoints_table(runs),
        "results": results_table(runs, [uar], BRIEFLY),
        "runs": results_table(runs, [uar, accuracy], QUESTIONS),
        "twins": twins_table(runs, results / "splits"),
        **{channel: groups_table(runs, channel) for channel in CHANNELS},
        "differences": differences_table(runs),
        "intersections": intersections_table(runs),
        "calibration": calibration_table(runs),
        "choices": choices_table(runs),
        "seeds": seeds_table(runs),
        "emobox": emobox_table(runs),
        "emodb": emodb_table(runs),
        "robustness": robustness_table(robustness, unseen),
        "adaptation": adaptation_table(adaptation),
        "together": together_table(pd.read_csv(results / "adaptation-together.csv")),
        "conversations": conversations_table(conversations),
    }


def read_predictions(path: Path) -> pd.DataFrame:
    """A saved prediction table, with what the names of its clips say: sex, speaker; for RAVDESS also channel, actor."""
    table = pd.read_csv(path)
    corpus = EMODB if EMODB.describe(table["clip"].iloc[0]) else ravdess
    return table.join(pd.DataFrame(map(corpus.describe, table["clip"])).drop(columns="emotion"))


def read_adaptation(results: Path) -> dict[str, pd.DataFrame]:
    """The tables of research.adaptation, by corpus."""
    names = {"RAVDESS, unseen actors' speech": "ravdess", "EmoDB": "emodb"}
    return {
        corpus: pd.read_csv(results / f"adaptation-{name}.csv", dtype={"speaker": str})
        for corpus, name in names.items()
    }


def tables_of(runs: Runs, prefix: str, channel: str | None = None) -> list[pd.DataFrame]:
    """The predictions of every split or fold of one kind: all clips, or those of one channel."""
    tables = [table for name, table in runs.items() if re.fullmatch(rf"{prefix}\d*", name)]
    return [table[table["channel"] == channel] for table in tables] if channel else tables


def pooled(runs: Runs, prefix: str, channel: str | None = None) -> pd.DataFrame:
    """The tables of `tables_of`, concatenated and sorted by clip, so that runs on the same clips have the same rows."""
    return pd.concat(tables_of(runs, prefix, channel)).sort_values("clip", kind="stable", ignore_index=True)


def markdown(header: list[str], rows: Iterable[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def interval(table: pd.DataFrame, metric: Callable, by: str = "actor", sign: str = "") -> str:
    """The 95 % bootstrap interval of the metric, as text."""
    low, high = bootstrap_interval(table, metric, by)
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def cell(table: pd.DataFrame, metric: Callable, by: str = "actor", sign: str = "") -> str:
    """The metric with its interval, as text; with the `sign` "+", also of positive numbers."""
    return f"{metric(table):{sign}.3f} ({interval(table, metric, by, sign)})"


def spread(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def among(chosen: pd.Series | np.ndarray, metric: Callable = uar) -> Callable:
    """`metric`, restricted to the rows of a table in `chosen` (boolean mask)."""
    chosen = np.asarray(chosen)
    return lambda table, weights=None: metric(table[chosen], None if weights is None else weights[..., chosen])


def minus(one: Callable, other: Callable) -> Callable:
    """The difference of two metrics of the same table."""
    return lambda table, weights=None: one(table, weights) - other(table, weights)


def uar_of(table: pd.DataFrame) -> Callable:
    """UAR of `table`, whatever table it is called with: for differences between two tables of the same clips."""
    return lambda _, weights=None: uar(table, weights)


def calm_as_neutral(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table for a corpus without calm: predictions of calm count as neutral."""
    return predictions.assign(prediction=predictions["prediction"].replace("calm", "neutral"))


def overconfidence(predictions: pd.DataFrame) -> float:
    """Mean confidence minus accuracy, in points."""
    return 100 * (predictions[label_columns(predictions)].max(axis=1).mean() - accuracy(predictions))


def actors_of(table: pd.DataFrame, by: str = "actor") -> pd.Series:
    """UAR of each actor."""
    return table.groupby(by).apply(uar, include_groups=False)


def strangers_table(runs: Runs) -> str:
    """UAR of the three configurations for known voices, unseen actors and EmoDB; means over the runs."""

    def row(name: str, tables: Iterable[list[pd.DataFrame]]) -> list[str]:
        return [name, *(f"{mean(map(uar, of_runs)):.3f}" for of_runs in tables)]

    rows = [[*row("known voices", (tables_of(runs, prefix) for prefix in KNOWN.values())), ""]]
    for channel in CHANNELS:
        rows.append(row(f"unseen actors, {channel}", (tables_of(runs, prefix, channel) for prefix in UNSEEN.values())))
    rows.append(row("German actors (EmoDB)", ([calm_as_neutral(runs[name])] for name in GERMAN.values())))
    return markdown(["UAR", *UNSEEN], rows)


def checkpoints_table(runs: Runs) -> str:
    """Accuracy of the committed models on their own test clips, and of the same recipe on all five splits."""
    rows = []
    for model in PUBLISHED:
        table, splits = runs[model.run], list(map(accuracy, tables_of(runs, model.run[:-1])))
        rows.append([f"`{model.file}`", len(table), f"{accuracy(table):.4f} ({interval(table, accuracy, 'clip')})"])
        rows[-1] += [f"{mean(splits):.3f}", spread(splits)]
    header = ["file", "test clips", "accuracy (95 %)", f"mean of {len(splits)} splits", "lowest to highest"]
    return markdown(header, rows)


def results_table(runs: Runs, metrics: list[Callable], questions: Iterable) -> str:
    """A row for each question: for each metric the mean over its runs, the interval, the lowest and highest run."""
    rows = []
    for question, prefix, channels, by in questions:
        for channel in channels:
            tables = tables_of(runs, prefix, channel)
            together = pd.concat(tables)
            name = question if channel is None else f"{question}, {channel}"
            rows.append([name, len(tables), len(together)])
            for metric in metrics:
                values = list(map(metric, tables))
                rows[-1].append(f"{mean(values):.3f} ({interval(together, metric, by)})")
                rows[-1].append(spread(values) if len(values) > 1 else "")
    names = ["UAR" if metric is uar else "accuracy" for metric in metrics]
    header = [text for name in names for text in (f"{name} (95 %)", "lowest to highest run")]
    return markdown(["recipe", "runs", "clips", *header], rows)


def twins_table(runs: Runs, splits: Path) -> str:
    """Known voices: accuracy on test clips whose other take was trained on, and on the others; all splits pooled."""
    rows = []
    for name, prefix in KNOWN.items():
        tables = []
        for run, table in runs.items():
            if re.fullmatch(rf"{prefix}\d", run):
                split = pd.read_csv(splits / f"{run}.csv")
                training = {*split["clip"][split["part"] == "training"]}
                tables.append(table.assign(has_twin=[other_take(clip) in training for clip in table["clip"]]))
        together = pd.concat(tables, ignore_index=True)
        row = [f"{name} recipe", f"{together['has_twin'].mean():.0%}".replace("%", " %")]
        for part in (together[together["has_twin"]], together[~together["has_twin"]]):
            row.append(cell(part, accuracy, "clip"))
        rows.append(row)
    return markdown(["known voices, accuracy (95 %)", "clips with a twin", "twin in training", "not"], rows)


def other_take(clip: str) -> str:
    """The name of the other recording of the same sentence, emotion and intensity by the same actor."""
    *begin, take, actor = clip.split("-")
    return "-".join([*begin, {"01": "02", "02": "01"}[take], actor])


def groups_table(runs: Runs, channel: str) -> str:
    """Unseen actors, all folds pooled: UAR by sex, intensity and actor, recall by emotion."""
    tables = [pooled(runs, prefix, channel) for prefix in UNSEEN.values()]

    def row(name: str, metric: Callable, sign: str = "") -> list[str]:
        return [name, *(cell(table, metric, sign=sign) for table in tables)]

    clips = tables[0]  # which are the same in all tables
    women, men = (among(clips[column] == value) for _, column, value in SEXES)
    rows = [row("all", uar), row("women", women), row("men", men), row("women minus men", minus(women, men), "+")]
    for name in clips["intensity"].unique():
        rows.append(row(f"{name} intensity", among(clips["intensity"] == name)))
    for name, share in (("lowest actor", 0), ("median actor", 0.5), ("highest actor", 1)):
        rows.append([name, *(f"{actors_of(table).quantile(share):.3f}" for table in tables)])
    rows += [row(name, among(clips["emotion"] == name)) for name in EMOTIONS if name in {*clips["emotion"]}]
    return markdown([channel, *UNSEEN], rows)


def differences_table(runs: Runs) -> str:
    """Unseen actors: differences in UAR between two configurations on the same clips."""
    rows = []
    for name, one, other in (
        ("`model_any_voice.pt` minus `model.pt`", "any8-fold", "speaker8-fold"),
        ("with `--adapt` minus without", r"any8-fold\d-adapted", "any8-fold"),
        ("with `--adapt` minus `model.pt`", r"any8-fold\d-adapted", "speaker8-fold"),
    ):
        pairs = [[pooled(runs, prefix, channel) for prefix in (one, other)] for channel in CHANNELS]
        rows.append([name, *(cell(first, minus(uar, uar_of(second)), sign="+") for first, second in pairs)])
    return markdown(["UAR, all folds pooled", *CHANNELS], rows)


def intersections_table(runs: Runs) -> str:
    """Unseen actors' speech: the recall of each emotion for women and for men."""
    tables = [pooled(runs, prefix, "speech") for prefix in UNSEEN.values()]
    rows = []
    for emotion in EMOTIONS:
        of_emotion = [table[table["emotion"] == emotion] for table in tables]
        parts = [table[table[column] == value] for table in of_emotion for _, column, value in SEXES]
        rows.append([emotion, len(parts[0]), *(f"{uar(part):.3f}" for part in parts)])
    header = [f"{name}, {people}" for name in UNSEEN for people, *_ in SEXES]
    return markdown(["speech", "clips per cell", *header], rows)


def calibration_table(runs: Runs) -> str:
    """Mean confidence minus accuracy in points, and pooled calibration error; known voices and unseen actors."""
    tables = [pooled(runs, prefix) for prefix in (*KNOWN.values(), *UNSEEN.values())]
    groups = [*((channel, "channel", channel) for channel in CHANNELS), *SEXES]
    groups += [(f"true {emotion}", "emotion", emotion) for emotion in EMOTIONS]
    groups += [(f"predicted {emotion}", "prediction", emotion) for emotion in EMOTIONS]
    rows = [["all", *(f"{overconfidence(table):+.1f}" for table in tables)]]
    for name, column, value in groups:
        parts = [table[table[column] == value] for table in tables]
        rows.append([name, *(f"{overconfidence(part):+.1f}" if len(part) else "" for part in parts)])
    rows.append(["ECE, pooled", *(f"{expected_calibration_error(table):.3f}" for table in tables)])
    header = [*(f"{name}, known" for name in KNOWN), *(f"{name}, unseen" for name in UNSEEN)]
    return markdown(["confidence minus accuracy", *header], rows)


def choices_table(runs: Runs) -> str:
    """Whether the any-voice recipe is better on actors that validated its choices: UAR of speech, pooled over folds."""
    table = pooled(runs, "any8-fold", "speech")
    seen = np.isin(table["actor"], [actor for fold in CHOSEN_ON for actor in ACTOR_FOLDS[fold]])
    rows = [
        ["folds 1, 2 and 3 (their actors also validated choices)", cell(table, among(seen))],
        ["folds 0 and 4", cell(table, among(~seen))],
        ["difference", cell(table, minus(among(seen), among(~seen)), sign="+")],
    ]
    return markdown(["speech, `model_any_voice.pt` recipe", "UAR (95 %, by actor)"], rows)


def emobox_table(runs: Runs) -> str:
    """UAR on EmoBox's six folds: what EmoBox reports, then the recipes here."""
    rows = [[f"{encoder}, frozen", f"{value:.3f}", "", ""] for encoder, value in EMOBOX.items()]
    for recipe, prefix in EMOBOX_RUNS.items():
        values = list(map(uar, tables_of(runs, prefix)))
        rows.append([recipe, f"{mean(values):.3f}", interval(pooled(runs, prefix), uar), spread(values)])
    return markdown(["EmoBox's six folds, speech of unseen actors", "UAR", "95 %, by actor", "by fold"], rows)


def emodb_table(runs: Runs) -> str:
    """EmoDB, six emotions, calm counted as neutral: UAR by group, recall by emotion, calibration in points."""
    tables = [calm_as_neutral(runs[name]) for name in GERMAN.values()]

    def row(name: str, metric: Callable) -> list[str]:
        return [name, *(cell(table, metric, "speaker") for table in tables)]

    clips = tables[0]
    rows = [row("all", uar), *(row(name, among(clips[column] == value)) for name, column, value in SEXES)]
    for name, share in (("lowest speaker", 0), ("highest speaker", 1)):
        rows.append([name, *(f"{actors_of(table, 'speaker').quantile(share):.3f}" for table in tables)])
    rows += [row(name, among(clips["emotion"] == name)) for name in EMOTIONS if name in {*clips["emotion"]}]
    rows.append(["confidence minus accuracy", *(f"{overconfidence(table):+.1f}" for table in tables)])
    gain = cell(tables[2], minus(uar, uar_of(tables[1])), "speaker", sign="+")
    rows.append(["with `--adapt` minus without", "", "", gain])
    return markdown(["EmoDB, 454 clips: UAR (95 %, by speaker)", *GERMAN], rows)


def seeds_table(runs: Runs) -> str:
    """UAR of the any-voice recipe on the actors of fold 0 by seed, and its standard deviation."""
    rows = []
    for name, run in (("`model_any_voice.pt` recipe", "any8-fold0{}"), ("same with `--adapt`", "any8-fold0{}-adapted")):
        tables = [runs[run.format(seed)] for seed in SEEDS]
        for channel in CHANNELS:
            values = [uar(table[table["channel"] == channel]) for table in tables]
            rows.append([f"{name}, {channel}", *(f"{value:.3f}" for value in (*values, stdev(values)))])
    return markdown(["fold 0, UAR", *(f"seed {number}" for number in range(len(SEEDS))), "standard deviation"], rows)


def robustness_table(*tables: pd.DataFrame) -> str:
    """Accuracy by condition, and the points lost against the clips as recorded (the first condition).

    `tables` are what robustness.measure returns.
    """
    measured = []
    for answers in tables:
        right = answers.drop(columns=["condition", "clip", "emotion"]).eq(answers["emotion"], axis=0)
        measured.append(right.groupby(answers["condition"], sort=False).mean())
    shares = pd.concat(measured, axis=1)
    lost = 100 * (shares.iloc[0] - shares)
    rows = [
        [
            condition,
            *(text for model, share in row.items() for text in (f"{share:.3f}", f"{lost.at[condition, model]:.1f}")),
        ]
        for condition, row in shares.iterrows()
    ]
    names = [{"plain": "any voice, unseen", "adapted": "same with `--adapt`"}.get(name, f"`{name}`") for name in shares]
    return markdown(["condition", *(text for name in names for text in (name, "points lost"))], rows)


def folder_uar(table: pd.DataFrame, weights: np.ndarray | None = None, answers: str = "adapted"):
    """UAR of `answers` ("plain" or "adapted") in rows of adaptation.measure; `weights` as in metrics.uar."""
    return mean_recall(table["emotion"], table[answers].to_numpy(float), table["recordings"].to_numpy(float), weights)


def gain(table: pd.DataFrame, weights: np.ndarray | None = None):
    """UAR with --adapt minus UAR without."""
    return folder_uar(table, weights) - folder_uar(table, weights, "plain")


def adaptation_table(tables: dict[str, pd.DataFrame]) -> str:
    """UAR without and with --adapt by kind of folder, and the gain with its interval, for each corpus."""
    rows = []
    for kind in next(iter(tables.values()))["folder"].unique():
        rows.append([kind])
        for table in tables.values():
            folders = table[table["folder"] == kind]
            rows[-1] += [f"{folder_uar(folders, answers=answers):.3f}" for answers in ("plain", "adapted")]
            rows[-1].append(cell(folders, gain, "speaker", sign="+"))
    header = [f"{corpus}, {column}" for corpus in tables for column in ("plain", "`--adapt`", "gain")]
    return markdown(["folder", *header], rows)


def together_table(table: pd.DataFrame) -> str:
    """UAR by kind of folder where every speaker has one: without --adapt, by all recordings, by folder."""
    columns = ["plain", "together", "by folder"]
    means = table.groupby(["corpus", "folder"], sort=False)[columns].mean()
    rows = [[*names, *(f"{value:.3f}" for value in row)] for names, row in zip(means.index, means.values, strict=True)]
    return markdown(["corpus", "folder of each speaker", "plain", "`--adapt`", "`--adapt folder`"], rows)


def conversations_table(table: pd.DataFrame) -> str:
    """For each kind of long recording: UAR of clips and timeline, error of the starts, share of voice missed."""
    rows = []
    for kind, clips in table.groupby("kind", sort=False):
        rows.append([kind, clips["recording"].nunique(), len(clips)])
        for column in ("alone", "in_noise", "timeline"):
            rows[-1].append(f"{uar(calm_as_neutral(clips.assign(prediction=clips[column]))):.3f}")
        missed = clips["missed_s"].sum() / clips["heard_s"].sum()
        rows[-1] += [f"{clips['start_error_s'].median():.2f} s", f"{missed:.1%}"]
    header = ["recordings", "", "clips", "UAR, clip alone", "clip cut from the recording", "timeline"]
    return markdown([*header, "start error (median)", "voice missed"], rows)
