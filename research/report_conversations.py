"""How accurate the timeline is on recordings joined from several clips, from results/conversations.csv."""

import pandas as pd

from research.report_tables import markdown, paragraph
from speech_emotion.evaluation.metrics import calm_as_neutral, uar

# A row for each clip: its prediction as a file of its own, cut from the noisy recording, and by the timeline.
COLUMNS = (
    "kind", "recording", "channel", "clip", "emotion", "alone", "in_noise", "timeline", "start_error_s", "heard_s",
    "missed_s",
)  # fmt: skip


def _uar(table: pd.DataFrame, column: str) -> str:
    return f"{uar(calm_as_neutral(table.assign(prediction=table[column]))):.3f}"


def conversations_table(table: pd.DataFrame) -> str:
    """For each kind of recording: UAR of clips and timeline, error of the starts, share of voice missed."""
    rows = [
        [
            kind, str(own["recording"].nunique()), str(len(own)), _uar(own, "alone"), _uar(own, "in_noise"),
            _uar(own, "timeline"), f"{own['start_error_s'].median():.2f} s",
            f"{own['missed_s'].sum() / own['heard_s'].sum():.1%}",
        ]
        for kind, own in table.groupby("kind", sort=False)
    ]  # fmt: skip
    heads = [
        "recordings",
        "",
        "clips",
        "UAR, clip alone",
        "clip cut from the recording",
        "timeline",
        "start error (median)",
        "voice missed",
    ]
    return markdown(heads, rows)


def conversations_sentence(table: pd.DataFrame) -> str:
    """The README's sentence."""
    mono, call = (table[table["kind"] == kind] for kind in ("one voice", "call"))
    timeline, calls, alone = _uar(mono, "timeline"), _uar(call, "timeline"), _uar(mono, "alone")
    return paragraph(
        "On long recordings joined from EmoDB's clips, with pauses and room noise, the timeline has a UAR of "
        f"{timeline} ({calls} on two-channel calls); on the same clips as separate files, UAR is {alone} "
        "(`python3 -m research.conversations`)."
    )
