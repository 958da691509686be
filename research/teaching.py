"""UAR against the number of labelled clips per emotion that model_any_voice.pt is taught with, as by train.py --labels.

    python3 -m research.teaching     # results/teaching.csv, in about five minutes; needs EmoDB and URDU in data/

The clips that teach are drawn at random, 20 times: of half of the speakers, who are not tested, or of the speaker who
is tested. All numbers of clips are tested on the same clips.
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from research import REPOSITORY, parser_of
from research.tables import calm_as_neutral, markdown
from speech_emotion.corpora.foreign import EMODB_WITH_BOREDOM, URDU
from speech_emotion.evaluation.metrics import uar
from speech_emotion.evaluation.plots import BLUE, ORANGE
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.training.any_voice_head import TeachingSettings, taught
from speech_emotion.training.own_labels import corpus_of, predictions_of, usable

COUNTS = (2, 5, 10, 25)
PLAIN, AMONG, ALL = "0, eight emotions", "0", "all"  # other values of the column per_emotion
OTHERS, OWN, NATURAL = "EmoDB, other speakers", "EmoDB, one's own voice", "URDU, other speakers"
BORED = "EmoDB with boredom, other speakers"
_GREEN = "#029e73"  # the third of seaborn's "colorblind"
_DRAWS = 20
_OWN_COUNTS = (2, 5)  # a speaker of EmoDB has no more; two clips are left to test


def main() -> None:
    options = parser_of(__doc__).parse_args()
    start = load_checkpoint(REPOSITORY / "model_any_voice.pt")
    predictor = Predictor(start, options.device, speech_only=False)
    tables = [corpus.clip_table(options.data) for corpus in (EMODB_WITH_BOREDOM, URDU)]
    bored, spontaneous = (usable(clips.assign(recording=[*predictor.embedded(clips["path"])]))[0] for clips in tables)
    acted = bored[bored["emotion"] != "bored"]
    rows = []
    for draw in range(_DRAWS):
        for task, clips, counts in ((OTHERS, acted, COUNTS), (BORED, bored, (5, ALL)), (NATURAL, spontaneous, COUNTS)):
            teachers, held_out = of_other_speakers(clips, np.random.default_rng(draw))
            rows += [(task, draw, *row) for row in measured(start, teachers, held_out, counts)]
        teachers, held_out = of_one_voice(acted, draw)
        rows += [(OWN, draw, *row) for row in measured(start, teachers, held_out, _OWN_COUNTS)]
        print(f"{draw + 1} of {_DRAWS} draws", flush=True)
    table = pd.DataFrame(rows, columns=["task", "draw", "per_emotion", "uar"])
    table.to_csv(options.results / "teaching.csv", index=False, float_format="%.4f")
    print(teaching_table(table))


def of_other_speakers(clips: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clips of half of the speakers in random order, and those of the others."""
    speakers = rng.permutation(clips["speaker"].unique())
    teaches = clips["speaker"].isin(speakers[: len(speakers) // 2])
    return clips[teaches].sample(frac=1, random_state=rng), clips[~teaches]


def of_one_voice(clips: pd.DataFrame, draw: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random clips of one speaker, and the rest, of the emotions of which two are left to test; at least three."""
    clips = clips.groupby(["speaker", "emotion"]).filter(lambda alike: len(alike) >= max(_OWN_COUNTS) + 2)
    clips = clips.groupby("speaker").filter(lambda spoken: spoken["emotion"].nunique() > 2)
    speakers = sorted(clips["speaker"].unique())
    spoken = clips[clips["speaker"] == speakers[draw % len(speakers)]].sample(frac=1, random_state=draw)
    teachers = spoken.groupby("emotion").head(max(_OWN_COUNTS))
    return teachers, spoken.drop(teachers.index)


def measured(
    start: Checkpoint, teachers: pd.DataFrame, held_out: pd.DataFrame, counts: tuple[int | str, ...]
) -> Iterator[tuple[str, float]]:
    """The number of clips per emotion, if all emotions have as many, and UAR on held-out clips."""
    labels = sorted(teachers["emotion"].unique())
    shared = [label for label in labels if label in start.labels]
    yield PLAIN, uar(calm_as_neutral(predictions_of(start, held_out, "cpu")))
    yield AMONG, uar(predictions_of(start, held_out, "cpu", shared))
    for count in counts:
        chosen = teachers if count == ALL else teachers.groupby("emotion").head(count)
        if count == ALL or chosen["emotion"].value_counts().min() == count:
            network = taught(start, corpus_of(chosen), labels, TeachingSettings())
            yield str(count), uar(predictions_of(Checkpoint(network, labels, start.temperature), held_out, "cpu"))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, low and high (95 % of the draws) by task and number of clips."""
    values = table.groupby(["task", "per_emotion"], sort=False)["uar"]
    return pd.DataFrame({"mean": values.mean(), "low": values.quantile(0.025), "high": values.quantile(0.975)})


def teaching_table(table: pd.DataFrame) -> str:
    """Markdown: a row for each task, a column for each number of clips per emotion."""
    columns, cells = [PLAIN, AMONG, *map(str, COUNTS), ALL], summary(table)
    rows = []
    for task in table["task"].unique():
        of_task = cells.loc[task]
        texts = {name: f"{row['mean']:.3f} ({row['low']:.2f} to {row['high']:.2f})" for name, row in of_task.iterrows()}
        rows.append([task, *(texts.get(column, "") for column in columns)])
    return markdown(["UAR by labelled clips per emotion", PLAIN, "0, only its own", *map(str, COUNTS), ALL], rows)


def plot_teaching(table: pd.DataFrame) -> Figure:
    """UAR against the number of labelled clips per emotion; the band holds 95 % of the draws."""
    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    cells = summary(table)
    for task, colour in ((OTHERS, BLUE), (OWN, ORANGE), (NATURAL, _GREEN)):
        of_task = cells.loc[task].drop(PLAIN)
        places = [(0, *COUNTS).index(int(count)) for count in of_task.index]
        ax.fill_between(places, of_task["low"], of_task["high"], color=colour, alpha=0.15)
        ax.plot(places, of_task["mean"], "o-", color=colour, label=task)
    ax.set(xlabel="labelled clips per emotion", ylabel="UAR, mean and 95 % of 20 draws", ylim=(0, 1))
    ax.set_xticks(range(len(COUNTS) + 1), [0, *COUNTS])
    ax.legend(frameon=False, loc="lower right")
    return figure


if __name__ == "__main__":
    main()
