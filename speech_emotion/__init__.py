"""Which emotion is in a recording of a voice; docs/python.md shows how to use this package."""

from importlib import import_module

__version__ = "1.0.0"
_PUBLIC = {
    "Adaptation": "inference.adaptation",
    "Predictor": "inference.predictor",
    "read_segments": "corpora.segments",
}


def __getattr__(name: str):
    """Lazy import for `from speech_emotion import Predictor`, so that other imports do not load torch."""
    if name in _PUBLIC:
        return getattr(import_module(f"speech_emotion.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
