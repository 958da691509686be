"""Answers limited to the emotions that can occur."""

from collections.abc import Sequence
from difflib import get_close_matches

import torch

from speech_emotion.corpora.labels import spelling

ALIKE = {"neutral": "calm", "calm": "neutral"}  # RAVDESS is almost alone in telling them apart


def choose_emotions(labels: Sequence[str], emotions: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """The chosen labels in the order of `labels` (K), and which label counts for which of them: (K, chosen), 0 or 1.

    Where only one of neutral and calm is chosen, it gets the probability of both. Case and usual forms of RAVDESS's
    emotions do not matter: anger is angry. Raises ValueError for a label that the model does not have, and for fewer
    than two.
    """
    spelled = dict(zip(emotions, map(spelling(labels), emotions), strict=True))
    if unknown := [emotion for emotion, label in spelled.items() if label not in labels]:
        near = get_close_matches(unknown[0].casefold(), labels, 1)
        remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(labels)}"
        raise ValueError(f"this model does not have the emotion {unknown[0]}; {remedy}")
    chosen = [label for label in labels if label in spelled.values()]
    if len(chosen) < 2:
        raise ValueError("at least two emotions are needed, for there to be a choice")
    counts_for = [label if label in chosen else ALIKE.get(label) for label in labels]
    return chosen, torch.tensor([[float(label == emotion) for emotion in chosen] for label in counts_for])
