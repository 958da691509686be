"""Speech emotion recognition on RAVDESS: MFCC, a CNN, and an honest evaluation."""


def __getattr__(name: str):
    """Lazy import for `from speech_emotion import Predictor`, so that other imports do not load torch."""
    if name == "Predictor":
        from speech_emotion.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
