"""Published results of other systems, next to the most comparable result of this project."""

from collections.abc import Callable
from statistics import mean

from research.report_tables import Runs, interval, markdown, paragraph, pooled, tables_of
from speech_emotion.evaluation.metrics import accuracy, uar

# System with its source, how it was tested, its result; the most comparable runs and channel here.
KNOWN = (
    (
        "[plain CNN on MFCC](https://github.com/AryanshVasu/emotion_classification)",
        "speech and song, one split", "0.80", ("random8-split", None),
    ),
    (
        "[CNN on MFCC, Δ, ΔΔ](https://github.com/iota765/audio_emotion_detection)",
        "speech and song, one split; epoch and learning rate chosen on the test clips", "0.85",
        ("random8-split", None),
    ),
    (
        "[EmoCatcher](https://github.com/hwang9u/emocatcher)",
        "speech, five folds; best epoch chosen on each fold's test clips", "0.842 ± 0.024", ("random8-split", "speech"),
    ),
    (
        "[TIM-Net](https://arxiv.org/abs/2211.08233)", "speech, ten folds, last epoch", "0.901",
        ("random8-split", "speech"),
    ),
    (
        "[VQ-MAE-S](https://arxiv.org/abs/2304.11117)",
        "speech, pretrained on VoxCeleb2; known or unseen voices not stated", "0.841",
        ("random8-split", "speech"),
    ),
)  # fmt: skip
UNSEEN = (
    (
        "[ResLSTM-SA](https://arxiv.org/abs/2606.03359)", "five folds by actor, from scratch",
        "0.623, best run 0.652", "speaker8-fold",
    ),
    (
        "[ComParE, logistic regression](https://github.com/hsn07pk/ravdess-speaker-independent-ser)",
        "leave one actor out", "0.636", "speaker8-fold",
    ),
    (
        "[XLS-R, WavLM-large, Whisper-large-v3](https://github.com/hsn07pk/ravdess-speaker-independent-ser)",
        "leave one actor out, frozen encoders, best layer", "0.819, 0.813, 0.802", "any8-fold",
    ),
)  # fmt: skip

# UA in Table 4 of Ma et al. (2024), for frozen encoders under a small network: the recall of eight emotions, averaged.
EMOBOX = {"Whisper-large-v3": 0.753, "WavLM-large": 0.720, "HuBERT-base": 0.654, "WavLM-base": 0.616}
# The recipes here: the name of the row, the name of the column in the README if it has one, the prefix of the runs.
EMOBOX_RUNS = (
    ("`model.pt` recipe, trained on speech alone", "`model.pt` recipe", r"speaker8-emobox\d-spoken"),
    ("`model_any_voice.pt` recipe, trained on speech alone", "`model_any_voice.pt` recipe", r"any8-emobox\d-spoken"),
    ("the same with `--adapt`", "with `--adapt`", r"any8-emobox\d-spoken-adapted"),
    ("`model_any_voice.pt` recipe, also trained on song and nEMO", None, r"any8-emobox\d"),
    ("also trained on song and nEMO, with `--adapt`", None, r"any8-emobox\d-adapted"),
)


def _score(runs: Runs, metric: Callable, prefix: str, channel: str | None) -> str:
    return f"{mean(map(metric, tables_of(runs, prefix, channel))):.3f}"


def known_table(runs: Runs) -> str:
    """Accuracy for known voices."""
    rows = [[*system, _score(runs, accuracy, *nearest)] for *system, nearest in KNOWN]
    return markdown(["known voices", "tested on", "accuracy", "`model.pt` recipe here"], rows)


def unseen_table(runs: Runs) -> str:
    """UAR for the speech of unseen actors."""
    rows = [[*system, _score(runs, uar, nearest, "speech")] for *system, nearest in UNSEEN]
    return markdown(["unseen actors, speech", "tested on", "UAR", "here"], rows)


def emobox_table(runs: Runs) -> str:
    """UAR on EmoBox's six folds: what EmoBox reports, then the recipes here."""
    rows = [[f"{encoder}, frozen", f"{value:.3f}", "", ""] for encoder, value in EMOBOX.items()]
    for recipe, _, prefix in EMOBOX_RUNS:
        values, together = [uar(table) for table in tables_of(runs, prefix)], pooled(runs, prefix)
        spread = f"{min(values):.3f} to {max(values):.3f}"
        rows.append([recipe, f"{mean(values):.3f}", interval(together, uar, "actor"), spread])
    return markdown(["EmoBox's six folds, speech of unseen actors", "UAR", "95 %, by actor", "by fold"], rows)


def emobox_columns(runs: Runs) -> str:
    """The same for the README, in one line, of recipes trained on speech alone."""
    ours = {column: _score(runs, uar, prefix, None) for _, column, prefix in EMOBOX_RUNS if column}
    cells = ["UAR", *(f"{value:.3f}" for value in EMOBOX.values()), *ours.values()]
    return markdown(["EmoBox's folds", *EMOBOX, *ours], [cells])


def others_paragraph(runs: Runs) -> str:
    """The README's summary of both tables, and the one published result on the same five folds."""
    known, spoken = (_score(runs, accuracy, "random8-split", channel) for channel in (None, "speech"))
    plain, adapted = (_score(runs, accuracy, prefix, "speech") for prefix in ("any8-fold", r"any8-fold\d-adapted"))
    cnn, any_voice = (_score(runs, uar, prefix, "speech") for prefix in ("speaker8-fold", "any8-fold"))
    return paragraph(
        "**What others report** ([tables, sources and caveats](results/README.md#what-others-report)), on other "
        "splits. Known voices: accuracy 0.80 and 0.85 with small CNNs on MFCC (`model.pt` recipe, mean of five "
        f"splits: {known}); on speech alone, 0.842 and 0.901 (here {spoken}). Unseen actors' speech: UAR 0.62 to 0.65 "
        f"trained from scratch (here {cnn}), 0.80 to 0.82 with large frozen encoders whose layer is chosen on training "
        f"actors (`model_any_voice.pt` recipe: {any_voice}). On the same five folds as here, fine-tuned XLSR-53 has an "
        f"accuracy of 0.818 (here {plain}, with `--adapt` {adapted})."
    )
