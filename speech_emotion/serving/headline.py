"""The heading of an answer: the emotions of a recording in a few words."""

from collections import Counter
from itertools import groupby

from speech_emotion.inference.rows import FIXED, is_uncertain, recording_row

_MOST_PARTS = 3  # parts that are listed besides the prevailing emotion


def headline(row: dict, stretches: list[dict]) -> str:
    """Emotion and confidence of a single stretch, or the parts of several, which their mean would hide.

    >>> headline(row, stretches)
    'mostly calm; angry from 0:12 to 0:21'
    """
    if len(stretches) == 1:
        return f"{row['emotion']}, {row['confidence']:.0%}{_mark(row)}"
    parts = [(emotion, list(part)) for emotion, part in groupby(stretches, lambda stretch: stretch["emotion"])]
    seconds = Counter()
    for stretch in stretches:
        seconds[stretch["emotion"]] += _seconds(stretch)
    main, longest = seconds.most_common(1)[0]
    if len(seconds) == 1:
        return f"{main} throughout{_mark(row)}"
    opening = "mixed: "
    if 2 * longest > seconds.total():
        opening = f"mostly {main}{_mark(_mean([stretch for stretch in stretches if stretch['emotion'] == main]))}; "
        parts = [(emotion, part) for emotion, part in parts if emotion != main]
    longest_first = sorted(parts, key=lambda each: -sum(map(_seconds, each[1])))
    named = sorted(longest_first[:_MOST_PARTS], key=lambda each: each[1][0]["start"])
    said = [
        f"{emotion} from {_clock(part[0]['start'])} to {_clock(part[-1]['end'])}{_mark(_mean(part))}"
        for emotion, part in named
    ]
    if n_others := len(parts) - len(named):
        said.append(f"{n_others} shorter part{'s' if n_others > 1 else ''}")
    return opening + "; ".join(said)


def _mark(row: dict) -> str:
    return " (uncertain)" if is_uncertain(row) else ""


def _mean(stretches: list[dict]) -> dict:
    labels = [column for column in stretches[0] if column not in FIXED]
    return recording_row("", labels, stretches, list(map(_seconds, stretches)))


def _seconds(stretch: dict) -> float:
    return stretch["end"] - stretch["start"]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
