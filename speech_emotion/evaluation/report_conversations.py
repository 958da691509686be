"""What the timelines of recordings of several clips are worth, from results/conversations.csv."""

import pandas as pd

from speech_emotion.evaluation.metrics import calm_as_neutral, uar
from speech_emotion.evaluation.report_tables import markdown, paragraph

# A row for each clip: what is said of it alone, alone as it sounds in the recording, and by the timeline.
COLUMNS = (
    "kind", "recording", "channel", "clip", "emotion", "alone", "in_noise", "timeline", "start_error_s", "heard_s",
    "missed_s",
)  # fmt: skip


def _uar(table: pd.DataFrame, column: str) -> str:
    return f"{uar(calm_as_neutral(table.assign(prediction=table[column]))):.3f}"


def conversations_table(table: pd.DataFrame) -> str:
    """For each kind of recording: UAR alone and by the timeline, how far starts are off, how much voice is missed."""
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
        "UAR alone",
        "in the noise",
        "by the timeline",
        "start off by (median)",
        "missed",
    ]
    return markdown(heads, rows)


def conversations_sentence(table: pd.DataFrame) -> str:
    """For the README."""
    mono, call = (table[table["kind"] == kind] for kind in ("one voice", "call"))
    timeline, calls, alone = _uar(mono, "timeline"), _uar(call, "timeline"), _uar(mono, "alone")
    return paragraph(
        f"EmoDB's clips, joined with pauses and the noise of a room, have UAR {timeline} by the timeline, {calls} in "
        f"two-channel calls, and {alone} as files of their own (`python3 benchmarks/conversations.py`)."
    )
