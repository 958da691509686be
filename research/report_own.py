"""The report on models trained on one's own labels, from research/own_labels.py."""

import pandas as pd

from research.report_groups import cell
from research.report_tables import markdown, paragraph
from speech_emotion.corpora.emodb import describe
from speech_emotion.evaluation.metrics import uar

IN_README, INNER = "README", "README, inner"


def _with_speakers(answers: pd.DataFrame) -> pd.DataFrame:
    return answers.assign(speaker=[describe(clip, boredom=True)["speaker"] for clip in answers["clip"]])


def _partitions(answers: pd.DataFrame) -> pd.Series:
    """UAR of each random partition."""
    drawn = answers[~answers["partition"].isin([IN_README, INNER])]
    return drawn.groupby("partition").apply(uar, include_groups=False)


def own_table(answers: pd.DataFrame) -> str:
    """Markdown: the README's partition, train.py's own estimate for it, and the random partitions."""
    rows = []
    for name, partition in (
        ("estimate of `train.py --labels`: each of its five speakers held out in turn", INNER),
        ("the final model on the other five speakers", IN_README),
    ):
        table = _with_speakers(answers[answers["partition"] == partition])
        rows.append([name, cell(table, uar, "speaker")])
    values = _partitions(answers)
    spread = f"mean {values.mean():.3f}, sd {values.std():.3f}, {values.min():.3f} to {values.max():.3f}"
    rows.append([f"{len(values)} random choices of the five training speakers", spread])
    return markdown(["seven emotions of EmoDB", "UAR (95 %, by speaker)"], rows)


def own_sentence(answers: pd.DataFrame) -> str:
    """The README's sentence."""
    table = _with_speakers(answers[answers["partition"] == IN_README])
    inner = uar(answers[answers["partition"] == INNER])
    values = _partitions(answers)
    return paragraph(
        "Trained on five speakers of EmoDB (seven emotions, including boredom), such a model has a UAR of "
        f"{cell(table, uar, 'speaker')} on the other five. The estimate that `train.py` prints, from training on four "
        f"and testing on the fifth, is {inner:.3f}. Over {len(values)} random choices of the five training speakers, "
        f"the mean on the others is {values.mean():.3f} ({values.min():.3f} to {values.max():.3f})."
    )
