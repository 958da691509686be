"""What the report says of a model for one's own labels, from benchmarks/own_labels_emodb.py."""

import pandas as pd

from speech_emotion.corpora.emodb import describe
from speech_emotion.evaluation.metrics import uar
from speech_emotion.evaluation.report_groups import cell
from speech_emotion.evaluation.report_tables import markdown, paragraph

IN_README, INNER = "README", "README, inner"


def _with_speakers(answers: pd.DataFrame) -> pd.DataFrame:
    return answers.assign(speaker=[describe(clip, boredom=True)["speaker"] for clip in answers["clip"]])


def _partitions(answers: pd.DataFrame) -> pd.Series:
    """UAR of each partition that was drawn at random."""
    drawn = answers[~answers["partition"].isin([IN_README, INNER])]
    return drawn.groupby("partition").apply(uar, include_groups=False)


def own_table(answers: pd.DataFrame) -> str:
    """Markdown: the partition in the README, what was measured before, and the random partitions."""
    rows = []
    for name, partition in (
        ("measured by `train.py --labels`, each of its five speakers held out", INNER),
        ("that model on the other five speakers", IN_README),
    ):
        table = _with_speakers(answers[answers["partition"] == partition])
        rows.append([name, cell(table, uar, "speaker")])
    values = _partitions(answers)
    spread = f"mean {values.mean():.3f}, sd {values.std():.3f}, {values.min():.3f} to {values.max():.3f}"
    rows.append([f"{len(values)} random partitions into five and five", spread])
    return markdown(["seven emotions of EmoDB", "UAR (95 %, by speaker)"], rows)


def own_sentence(answers: pd.DataFrame) -> str:
    """For the README."""
    table = _with_speakers(answers[answers["partition"] == IN_README])
    inner = uar(answers[answers["partition"] == INNER])
    values = _partitions(answers)
    return paragraph(
        f"On the other five speakers it has UAR {cell(table, uar, 'speaker')}. `train.py` itself, which learns from "
        f"four to test on the fifth, predicts {inner:.3f}. Over {len(values)} random choices of the five speakers the "
        f"mean is {values.mean():.3f}, from {values.min():.3f} to {values.max():.3f}."
    )
