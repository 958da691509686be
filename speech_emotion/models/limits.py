"""Limits for the content of a checkpoint, so that a hostile one cannot exhaust memory or time.

Each setting is checked by itself, and then the products of settings that determine memory.
"""

from math import prod

_MOST_VALUES = 2**23  # in any intermediate result for one window: 32 MB
_LARGEST = {
    "sample_rate": 384_000, "window_start_s": 60, "window_s": 60, "n_fft": 2**16, "hop_length": 2**20,
    "n_mels": 2**10, "n_mfcc": 2**10, "f_min": 192_000, "f_max": 192_000, "top_db": 1000,
    "n_classes": 2**16, "n_frames": 2**13, "n_cepstrum": 2**10, "channels": 2**12, "n_embedding": 2**14,
    "n_blocks": 2**6, "width": 2**12, "hidden": 2**20, "input_dropout": 1, "dropout": 1, "shrinkage": 1e6,
}  # fmt: skip
_MAY_BE_ZERO = {"window_start_s", "f_min", "hidden", "input_dropout", "dropout", "shrinkage"}
_MOST_LAYERS = 16  # most entries of `channels`
_MOST_PLAIN = 2**22  # plain values, enough for the held-out clips of a large corpus
_MOST_CHARACTERS = 2**28  # in all plain values together


def check_settings(features: object, model: object) -> None:
    """Raises ValueError for settings that are not numbers, or larger than any network needs."""
    if not (type(features) is type(model) is dict and len(features) + len(model) <= len(_LARGEST)):
        raise ValueError("settings are numbers by name")
    for name, value in (features | model).items():
        numbers = value if name == "channels" and type(value) in (list, tuple) else [value]
        if not (0 < len(numbers) <= _MOST_LAYERS and all(_is_number(each, name) for each in numbers)):
            raise ValueError("a setting is a number, and no larger than is of use")
    samples = features["sample_rate"] * features["window_s"]
    frames, bins = 1 + samples // features["hop_length"], 1 + features["n_fft"] // 2
    activations = max(4 * model.get("width", 0), features["n_mels"] * max(model.get("channels", [0])))
    sizes = ((samples,), (frames, bins), (bins, features["n_mels"]), (frames, activations))
    if frames > _LARGEST["n_frames"] or any(prod(size) > _MOST_VALUES for size in sizes):
        raise ValueError("such windows would take all memory")


def _is_number(value: object, name: str) -> bool:
    least = 0 if name in _MAY_BE_ZERO else 1e-3
    return type(value) in (int, float) and least <= value <= _LARGEST[name]


def check_plain(value: object) -> None:
    """Raises ValueError unless it is a dict of plain values, and not too many.

    A list that holds another twice, which holds a third twice and so on, is small in memory but endless to print.
    """
    if type(value) is not dict:
        raise ValueError("it is a dict")
    left, n_values, n_characters = [value], 0, 0
    while left:
        value = left.pop()
        n_values += 1
        if type(value) is dict:
            left += [*value, *value.values()]
        elif type(value) in (list, tuple):
            left += value
        elif type(value) is str:
            n_characters += len(value)
        elif not (value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 2**63)):
            raise ValueError("a plain value is a number, text, true, false, nothing, or a list or dict of such")
        if n_values + len(left) > _MOST_PLAIN or n_characters > _MOST_CHARACTERS:
            raise ValueError("there are too many plain values")
