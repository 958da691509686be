"""What the report says of folders that --adapt was measured on."""

import numpy as np
import pandas as pd

from speech_emotion.evaluation.folders import ALL, SHARES, SIZES, shares, sizes
from speech_emotion.evaluation.metrics import bootstrap_interval, mean_recall
from speech_emotion.evaluation.report_tables import interval, markdown, paragraph
from speech_emotion.inference.adaptation import ONE_SIDED

FOLDERS = [*map(sizes, SIZES), ALL, *map(shares, SHARES)]


def folder_uar(table: pd.DataFrame, weights: np.ndarray | None = None, answers: str = "adapted"):
    """UAR of `answers`, plain or adapted, in rows of folders.measure; `weights` as in metrics.uar."""
    return mean_recall(table["emotion"], table[answers].to_numpy(float), table["recordings"].to_numpy(float), weights)


def gain(table: pd.DataFrame, weights: np.ndarray | None = None):
    """UAR with --adapt less that without."""
    return folder_uar(table, weights) - folder_uar(table, weights, "plain")


def adaptation_table(tables: dict[str, pd.DataFrame]) -> str:
    """Markdown: UAR without and with --adapt by kind of folder, and the gain with its interval, for each corpus."""
    rows = []
    for kind in FOLDERS:
        cells = []
        for table in tables.values():
            of_kind = table[table["folder"] == kind]
            cells += [f"{folder_uar(of_kind, answers=answers):.3f}" for answers in ("plain", "adapted")]
            cells.append(f"{gain(of_kind):+.3f} ({interval(of_kind, gain, 'speaker', signed=True)})")
        rows.append([kind, *cells])
    header = [f"{corpus}, {column}" for corpus in tables for column in ("plain", "`--adapt`", "gain")]
    return markdown(["the folder holds", *header], rows)


def adaptation_sentence(tables: dict[str, pd.DataFrame]) -> str:
    """For the README: what --adapt gains for few recordings and for many, and costs in a folder of one emotion."""

    def gains(table: pd.DataFrame, kinds: list[str]) -> str:
        of_kinds = [table[table["folder"] == kind] for kind in kinds]
        ends = [bootstrap_interval(of_kind, gain, "speaker") for of_kind in of_kinds]
        values = ", ".join(f"{gain(of_kind):+.3f}" for of_kind in of_kinds)
        return values + " (each interval includes 0)" * all(low <= 0 <= high for low, high in ends)

    ravdess, emodb = tables.values()
    few, alike = [*map(sizes, SIZES), ALL], [*map(shares, SHARES)]
    return paragraph(
        f"**From how many recordings is `--adapt` worth it?** With {', '.join(map(str, SIZES))} and all recordings of "
        f"an unseen actor's speech it gains {gains(ravdess, few)} UAR, of a speaker of EmoDB {gains(emodb, few)}. "
        f"Where 50, 80 and 100 % of ten recordings have one emotion it changes {gains(ravdess, alike)}, on EmoDB "
        f"{gains(emodb, alike)} ([table and curve](MODEL_CARD.md#adaptation)). So it pays from about ten recordings "
        "with several emotions, and may not in another language."
    )


def safeguard_sentence(development: pd.DataFrame) -> str:
    """For the model card: what the limit for one-sided folders does on the development fold."""
    chosen, lower = f"unless {ONE_SIDED} is one emotion", "unless 0.4 is one emotion"
    table = development.set_index(["clips", "folder"])
    alike, ten = table.loc["speech", shares(1.0)], table.loc["speech", sizes(10)]
    loud, all_loud = (table.loc["speech, babble, 10 dB", kind] for kind in (sizes(10), ALL))
    return paragraph(
        "`--adapt` leaves a folder alone in which one emotion has half of the probability before. This limit was "
        "chosen on the development fold ([results/development.csv](results/development.csv)). Among five actors left "
        f"out there, folders of one emotion have UAR {alike['always']:.3f} without the limit and {alike[chosen]:.3f} "
        f"with it ({alike['plain']:.3f} without `--adapt`), ten mixed recordings {ten['always']:.3f} and "
        f"{ten[chosen]:.3f}, ten in babble {loud['always']:.3f} and {loud[chosen]:.3f}. A limit of 0.4 would give "
        f"{alike[lower]:.3f} for one emotion, but in babble, where everything sounds alike before, only "
        f"{all_loud[lower]:.3f} with all recordings, where this one keeps {all_loud[chosen]:.3f}."
    )
