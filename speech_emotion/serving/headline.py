"""What a recording expresses, in a few words: the heading of its answer."""

from collections import Counter
from itertools import groupby

from speech_emotion.inference.rows import FIXED, is_uncertain, recording_row, spans_apart

_MOST_PARTS = 3  # that are named beside the emotion that prevails


def headline(row: dict, windows: list[dict]) -> str:
    """Of one window its emotion and confidence; of more the parts, as the mean of all would hide them.

    >>> headline(row, windows)
    'mostly calm; angry from 0:12 to 0:21'
    """
    if len(windows) == 1:
        return f"{row['emotion']}, {row['confidence']:.0%}{_mark(row)}"
    parts, seconds = [], Counter()
    in_time = zip(spans_apart(windows), windows, strict=True)
    for emotion, neighbours in groupby(in_time, lambda each: each[1]["emotion"]):
        spans, of_part = zip(*neighbours, strict=True)
        seconds[emotion] += sum(end - start for start, end in spans)
        parts.append((spans[0][0], spans[-1][1], emotion, of_part))
    main, longest = seconds.most_common(1)[0]
    if len(seconds) == 1:
        return f"{main} throughout{_mark(row)}"
    opening = "mixed: "
    if 2 * longest > seconds.total():
        opening = f"mostly {main}{_mark(_mean([window for window in windows if window['emotion'] == main]))}; "
        parts = [part for part in parts if part[2] != main]
    named = sorted(sorted(parts, key=lambda part: part[0] - part[1])[:_MOST_PARTS])
    said = [
        f"{emotion} from {_clock(start)} to {_clock(end)}{_mark(_mean(of_part))}"
        for start, end, emotion, of_part in named
    ]
    if n_others := len(parts) - len(named):
        said.append(f"{n_others} shorter part{'s' if n_others > 1 else ''}")
    return opening + "; ".join(said)


def _mark(row: dict) -> str:
    return " (uncertain)" if is_uncertain(row) else ""


def _mean(windows: list[dict]) -> dict:
    return recording_row("", [column for column in windows[0] if column not in FIXED], windows)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
