"""The report's tables by group, in Markdown: accuracy and calibration by sex, intensity, actor and emotion."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from research.report_tables import (
    CHANNELS,
    UNSEEN,
    Runs,
    interval,
    markdown,
    paragraph,
    pooled,
    tables_of,
)
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.evaluation.metrics import (
    calm_as_neutral,
    expected_calibration_error,
    fit_temperature,
    label_columns,
    overconfidence,
    uar,
)

KNOWN = {"`model.pt`": "random8-split", "`model_any_voice.pt`": "any8-split"}
SEXES = {"women": "female", "men": "male"}
# Folds whose test actors served as validation actors while the any-voice recipe was chosen: see results/README.md.
CHOSEN_ON = (1, 2, 3)


def among(chosen: pd.Series | np.ndarray, metric: Callable = uar) -> Callable:
    """`metric`, restricted to the rows of a table in `chosen` (boolean mask)."""
    chosen = np.asarray(chosen)
    return lambda table, weights=None: metric(table[chosen], None if weights is None else weights[..., chosen])


def minus(one: Callable, other: Callable) -> Callable:
    """The difference of two metrics of the same table."""
    return lambda table, weights=None: one(table, weights) - other(table, weights)


def cell(table: pd.DataFrame, metric: Callable, by: str = "actor") -> str:
    return f"{metric(table):.3f} ({interval(table, metric, by)})"


def difference_cell(table: pd.DataFrame, metric: Callable, by: str = "actor") -> str:
    return f"{metric(table):+.3f} ({interval(table, metric, by, signed=True)})"


def groups_table(runs: Runs, channel: str) -> str:
    """Unseen actors, all folds pooled: UAR by sex, intensity and actor, recall by emotion."""
    tables = {name: pooled(runs, prefix, channel) for name, prefix in UNSEEN.items()}

    def row(name: str, metric_of: Callable[[pd.DataFrame], Callable], cell: Callable = cell) -> list[str]:
        return [name, *(cell(table, metric_of(table)) for table in tables.values())]

    rows = [row("all", lambda table: uar)]
    rows += [row(name, lambda table, sex=sex: among(table["sex"] == sex)) for name, sex in SEXES.items()]
    women_and_men = [lambda table, sex=sex: among(table["sex"] == sex) for sex in SEXES.values()]
    rows.append(row("women minus men", lambda table: minus(*(of(table) for of in women_and_men)), difference_cell))
    for intensity in ("normal", "strong"):
        rows.append(row(f"{intensity} intensity", lambda table, part=intensity: among(table["intensity"] == part)))
    actors = [table.groupby("actor").apply(uar, include_groups=False) for table in tables.values()]
    for name, share in (("lowest actor", 0), ("median actor", 0.5), ("highest actor", 1)):
        rows.append([name, *(f"{of_actors.quantile(share):.3f}" for of_actors in actors)])
    present = [emotion for emotion in EMOTIONS if emotion in {*next(iter(tables.values()))["emotion"]}]
    rows += [row(emotion, lambda table, part=emotion: among(table["emotion"] == part)) for emotion in present]
    return markdown([channel, *UNSEEN], rows)


def differences_table(runs: Runs) -> str:
    """Unseen actors: differences in UAR between two configurations on the same clips."""
    rows = []
    for name, (one, other) in {
        "`model_any_voice.pt` minus `model.pt`": ("any8-fold", "speaker8-fold"),
        "with `--adapt` minus without": (r"any8-fold\d-adapted", "any8-fold"),
        "with `--adapt` minus `model.pt`": (r"any8-fold\d-adapted", "speaker8-fold"),
    }.items():
        cells = []
        for channel in CHANNELS:
            first, second = (
                pooled(runs, prefix, channel).sort_values("clip", ignore_index=True) for prefix in (one, other)
            )
            cells.append(
                difference_cell(first, minus(uar, lambda _, weights=None, second=second: uar(second, weights)))
            )
        rows.append([name, *cells])
    return markdown(["UAR, all folds pooled", *CHANNELS], rows)


def intersections_table(runs: Runs) -> str:
    """Unseen actors' speech: the recall of each emotion for women and for men."""
    tables = [pooled(runs, prefix, "speech") for prefix in UNSEEN.values()]
    rows = []
    for emotion in EMOTIONS:
        chosen = [
            table[(table["emotion"] == emotion) & (table["sex"] == sex)] for table in tables for sex in SEXES.values()
        ]
        rows.append([emotion, len(chosen[0]), *(f"{uar(table):.3f}" for table in chosen)])
    header = [f"{name}, {people}" for name in UNSEEN for people in SEXES]
    return markdown(["speech", "clips per cell", *header], rows)


def calibration_table(runs: Runs) -> str:
    """Mean confidence minus accuracy in points, and pooled calibration error; known voices and unseen actors."""
    tables = [pooled(runs, prefix) for prefix in (*KNOWN.values(), *UNSEEN.values())]

    def row(name: str, choose: Callable[[pd.DataFrame], pd.Series]) -> list[str]:
        return [name, *(f"{100 * overconfidence(table[choose(table)]):+.1f}" for table in tables)]

    rows = [row("all", lambda table: table["clip"] == table["clip"])]
    rows += [row(channel, lambda table, part=channel: table["channel"] == part) for channel in CHANNELS]
    rows += [row(name, lambda table, sex=sex: table["sex"] == sex) for name, sex in SEXES.items()]
    rows += [row(f"true {emotion}", lambda table, part=emotion: table["emotion"] == part) for emotion in EMOTIONS]
    rows += [
        row(f"predicted {emotion}", lambda table, part=emotion: table["prediction"] == part) for emotion in EMOTIONS
    ]
    rows.append(["ECE, pooled", *(f"{expected_calibration_error(table):.3f}" for table in tables)])
    header = [*(f"{name}, known" for name in KNOWN), *(f"{name}, unseen" for name in UNSEEN)]
    return markdown(["confidence minus accuracy", *header], rows)


def temperature_table(runs: Runs) -> str:
    """Unseen actors: the pooled calibration error with temperatures fitted on the other folds' held-out clips."""
    rows = [
        ["as published", *(f"{expected_calibration_error(pooled(runs, prefix)):.3f}" for prefix in UNSEEN.values())]
    ]
    for name, by in (
        ("one for all", None),
        ("one for speech, one for song", "channel"),
        ("one for women, one for men", "sex"),
    ):
        cells = []
        for prefix in UNSEEN.values():
            folds = [table.assign(all="") for table in tables_of(runs, prefix)]
            cells.append(f"{expected_calibration_error(pd.concat(_refitted(folds, by or 'all'))):.3f}")
        rows.append([name, *cells])
    return markdown(["ECE, pooled, by temperature", *UNSEEN], rows)


def _refitted(folds: list[pd.DataFrame], by: str) -> list[pd.DataFrame]:
    """Each fold and group with its probabilities at the temperature fitted on the same group of the other folds."""
    refitted = []
    for number, fold in enumerate(folds):
        others = pd.concat([other for index, other in enumerate(folds) if index != number])
        for group, table in fold.groupby(by):
            same, labels = others[others[by] == group], label_columns(fold)
            targets = torch.tensor(pd.Categorical(same["emotion"], categories=labels).codes.astype(int))
            temperature = fit_temperature(_logits(same), targets)
            refitted.append(
                table.assign(**dict(zip(labels, (_logits(table) / temperature).softmax(1).numpy().T, strict=True)))
            )
    return refitted


def _logits(table: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(table[label_columns(table)].to_numpy()).clamp(min=1e-6).log()


def choices_table(runs: Runs) -> str:
    """Whether the any-voice recipe is better on actors that validated its choices: UAR of speech, pooled over folds."""
    table = pooled(runs, "any8-fold", "speech")
    seen = np.isin(table["actor"], [actor for fold in CHOSEN_ON for actor in ACTOR_FOLDS[fold]])
    rows = [
        ["folds 1, 2 and 3 (their actors also validated choices)", cell(table, among(seen))],
        ["folds 0 and 4", cell(table, among(~seen))],
        ["difference", difference_cell(table, minus(among(seen), among(~seen)))],
    ]
    return markdown(["speech, `model_any_voice.pt` recipe", "UAR (95 %, by actor)"], rows)


def emodb_table(runs: Runs) -> str:
    """UAR on EmoDB, six emotions, calm counted as neutral, with intervals by speaker."""
    names = dict(zip(UNSEEN, ("random8-emodb", "any8-emodb", "any8-emodb-adapted"), strict=True))
    tables = {name: calm_as_neutral(runs[run]) for name, run in names.items() if run in runs}
    rows = [[name, cell(table, uar, "speaker")] for name, table in tables.items()]
    if len(tables) == len(names):
        _, plain, adapted = tables.values()
        gain = minus(lambda _, weights=None: uar(adapted, weights), uar)
        rows.append(["with `--adapt` minus without", difference_cell(plain, gain, "speaker")])
    return markdown(["EmoDB, 454 clips", "UAR (95 %, by speaker)"], rows)


def men_sentence(runs: Runs) -> str:
    """The sentence about men in the README's limits."""
    parts = []
    for prefix in list(UNSEEN.values())[1:]:
        table = pooled(runs, prefix, "speech")
        women, men = (among(table["sex"] == sex) for sex in SEXES.values())
        actors = table.groupby("actor").apply(uar, include_groups=False)
        parts.append((women(table), men(table), difference_cell(table, minus(women, men)), actors.min(), actors.max()))
    (women, men, difference, low, high), (adapted_women, adapted_men, *_) = parts
    return paragraph(
        "* It is clearly less accurate for men: on the speech of unseen actors, `model_any_voice.pt` has a UAR of "
        f"{men:.3f} for men and {women:.3f} for women, a difference of {difference}; with `--adapt`, "
        f"{adapted_men:.3f} and {adapted_women:.3f}. For individual actors, UAR ranges from {low:.3f} to {high:.3f} "
        "([picture](results/figures/actors.png))."
    )
