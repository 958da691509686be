"""What others reach, by their own account, beside what this project reaches on the nearest question."""

from collections.abc import Callable
from statistics import mean

from speech_emotion.evaluation.metrics import accuracy, uar
from speech_emotion.evaluation.report_tables import Runs, markdown, paragraph, tables_of

# System with its source, on what and how, its number; the runs and the channel that come nearest.
KNOWN = (
    (
        "[plain CNN on MFCC](https://github.com/AryanshVasu/emotion_classification)",
        "speech and song, one split", "0.80", ("random8-split", None),
    ),
    (
        "[CNN on MFCC, Δ, ΔΔ](https://github.com/iota765/audio_emotion_detection)",
        "speech and song, one split; the test clips also chose its epoch and learning rate", "0.85",
        ("random8-split", None),
    ),
    (
        "[EmoCatcher](https://github.com/hwang9u/emocatcher)",
        "speech, five folds; the best epoch on each fold's test clips", "0.842 ± 0.024", ("random8-split", "speech"),
    ),
    (
        "[TIM-Net](https://arxiv.org/abs/2211.08233)", "speech, ten folds, the last epoch", "0.901",
        ("random8-split", "speech"),
    ),
    (
        "[VQ-MAE-S](https://arxiv.org/abs/2304.11117)",
        "speech, pretrained on VoxCeleb2; has scripts for known and for unseen voices", "0.841",
        ("random8-split", "speech"),
    ),
)  # fmt: skip
UNSEEN = (
    (
        "[ResLSTM-SA](https://arxiv.org/abs/2606.03359)", "five folds of actors, from scratch",
        "0.623, best run 0.652", "speaker8-fold",
    ),
    (
        "[ComParE, logistic regression](https://github.com/hsn07pk/ravdess-speaker-independent-ser)",
        "each actor in turn", "0.636", "speaker8-fold",
    ),
    (
        "[EmoBox](https://emo-box.github.io/leaderboard1.html): Whisper-large-v3, WavLM-large, HuBERT-base",
        "six folds of actors, frozen encoders, a small head", "0.753, 0.720, 0.654", "any8-fold",
    ),
    (
        "[XLS-R, WavLM-large, Whisper-large-v3](https://github.com/hsn07pk/ravdess-speaker-independent-ser)",
        "each actor in turn, frozen, the best layer", "0.819, 0.813, 0.802", "any8-fold",
    ),
)  # fmt: skip


def _score(runs: Runs, metric: Callable, prefix: str, channel: str | None) -> str:
    return f"{mean(map(metric, tables_of(runs, prefix, channel))):.3f}"


def known_table(runs: Runs) -> str:
    """Accuracy on voices that were heard in training."""
    rows = [[*system, _score(runs, accuracy, *nearest)] for *system, nearest in KNOWN]
    return markdown(["known voices", "tested on", "accuracy", "recipe of `model.pt`"], rows)


def unseen_table(runs: Runs) -> str:
    """UAR on the speech of actors who were not."""
    rows = [[*system, _score(runs, uar, nearest, "speech")] for *system, nearest in UNSEEN]
    return markdown(["unseen actors, speech", "tested on", "UAR", "here"], rows)


def others_paragraph(runs: Runs) -> str:
    """For the README: the essence of both tables, and the one published number on the same five folds."""
    known, spoken = (_score(runs, accuracy, "random8-split", channel) for channel in (None, "speech"))
    plain, adapted = (_score(runs, accuracy, prefix, "speech") for prefix in ("any8-fold", r"any8-fold\d-adapted"))
    return paragraph(
        "What others report ([tables and sources](results/README.md#what-others-report)): they use other folds, and "
        "train on speech only where they test on speech, while these recipes train on song too. Known voices: "
        "accuracy 0.80 and 0.85 with small CNNs on MFCC (the test clips of the latter also chose its epoch and "
        f"learning rate), here {known} with `model.pt`'s recipe; on speech 0.842 and 0.901, here {spoken}. Unseen "
        "actors' speech: UAR 0.62 to 0.65 from scratch; in EmoBox 0.753, 0.720 and 0.654 with Whisper-large, "
        "WavLM-large and HuBERT-base, frozen; 0.80 to 0.82 with large frozen encoders whose layer is chosen within the "
        "training actors, which is better than `model_any_voice.pt`. On these same five folds XLSR-53, fine-tuned, has "
        f"accuracy 0.818, `model_any_voice.pt`'s recipe {plain}, with `--adapt` {adapted}."
    )
