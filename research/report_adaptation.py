"""The report on --adapt: folders of different sizes and mixtures of emotions."""

import numpy as np
import pandas as pd

from research.adaptation import ALL, SHARES, SIZES, shares, sizes
from research.report_tables import interval, markdown, paragraph
from speech_emotion.evaluation.metrics import mean_recall
from speech_emotion.inference.adaptation import ONE_SIDED

FOLDERS = [*map(sizes, SIZES), ALL, *map(shares, SHARES)]


def folder_uar(table: pd.DataFrame, weights: np.ndarray | None = None, answers: str = "adapted"):
    """UAR of `answers` ("plain" or "adapted") in rows of folders.measure; `weights` as in metrics.uar."""
    return mean_recall(table["emotion"], table[answers].to_numpy(float), table["recordings"].to_numpy(float), weights)


def gain(table: pd.DataFrame, weights: np.ndarray | None = None):
    """UAR with --adapt minus UAR without."""
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
    return markdown(["folder", *header], rows)


def adaptation_sentence(tables: dict[str, pd.DataFrame]) -> str:
    """The README's paragraph: what --adapt gains by number of recordings, and what it costs if one emotion prevails."""

    def changes(table: pd.DataFrame, kinds: list[str]) -> list[str]:
        return [f"{gain(table[table['folder'] == kind]):+.3f}" for kind in kinds]

    kinds = [sizes(5), sizes(10), ALL, shares(1.0)]
    (five, ten, all_clips, alike), (german_five, german_ten, german_all, german_alike) = (
        changes(table, kinds) for table in tables.values()
    )
    return paragraph(
        "**How many recordings does `--adapt` need?** On the speech of an unseen RAVDESS actor, it changes UAR by "
        f"{five} with 5 recordings, {ten} with 10 and {all_clips} with all; on that of an EmoDB speaker, by "
        f"{german_five}, {german_ten} and {german_all}. If 10 recordings all have the same emotion, it changes UAR by "
        f"{alike}, on EmoDB by {german_alike} ([intervals and curve](MODEL_CARD.md#adaptation)). So use it from about "
        "ten recordings with several emotions; in another language it may not help."
    )


def safeguard_sentence(development: pd.DataFrame) -> str:
    """The model card's paragraph: the effect of the limit for one-sided folders on the development fold."""
    chosen, lower = f"unless {ONE_SIDED} is one emotion", "unless 0.4 is one emotion"
    table = development.set_index(["clips", "folder"])
    alike, ten = table.loc["speech", shares(1.0)], table.loc["speech", sizes(10)]
    loud, all_loud = (table.loc["speech, babble, 10 dB", kind] for kind in (sizes(10), ALL))
    return paragraph(
        "`--adapt` does not change a folder in which, before adaptation, one emotion has at least half of the "
        "probability. This limit was chosen on the development fold "
        "([results/development.csv](results/development.csv)). For its five validation actors, UAR in folders of one "
        f"emotion is {alike['always']:.3f} without the limit and {alike[chosen]:.3f} with it ({alike['plain']:.3f} "
        f"without `--adapt`); for ten mixed recordings {ten['always']:.3f} and {ten[chosen]:.3f}; for ten in babble "
        f"noise {loud['always']:.3f} and {loud[chosen]:.3f}. A limit of 0.4 would give {alike[lower]:.3f} for one "
        "emotion. But in babble, where all recordings get similar answers before adaptation, it would give only "
        f"{all_loud[lower]:.3f} with all recordings, against {all_loud[chosen]:.3f} with the chosen limit."
    )
