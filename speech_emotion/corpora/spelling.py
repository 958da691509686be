"""Different spellings and forms of the same label."""

from collections.abc import Callable, Iterable

SHOWN = 10  # names listed in a sentence

# Other forms of RAVDESS's emotions.
_FORMS = {
    "neutral": ("neutrality", "neu"),
    "calm": ("calmness",),
    "happy": ("happiness", "joy", "joyful", "hap"),
    "sad": ("sadness", "sorrow"),
    "angry": ("anger", "ang"),
    "fearful": ("fear", "afraid", "scared", "fea"),
    "disgust": ("disgusted", "dis"),
    "surprised": ("surprise", "sur"),
}
_EMOTION_OF = {form: emotion for emotion, forms in _FORMS.items() for form in forms}


def some(names: Iterable[str]) -> str:
    """The first `SHOWN` names and the number of others, for a sentence."""
    names = list(names)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def spelling(labels: Iterable[str], forms: dict[str, str] = _EMOTION_OF) -> Callable[[str], str]:
    """A function that maps a label to its spelling in `labels`: the same except for case, else another of its `forms`.

    >>> spelling(["happy", "sad"])("Happiness")
    'happy'
    """
    exact, usual = {}, {}
    for label in labels:
        folded = label.casefold()
        exact.setdefault(folded, label)
        usual.setdefault(forms.get(folded, folded), label)

    def spelled(label: str) -> str:
        folded = label.casefold()
        return exact.get(folded) or usual.get(forms.get(folded, folded), label)

    return spelled
