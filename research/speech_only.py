"""How many recordings get an emotion with --speech-only: real sounds without speech, RAVDESS and EmoDB.

Takes folders of sounds, such as the packages listed in docs/speech.md; files that match a pattern in
research/voices.txt contain voices and are left out. RAVDESS and EmoDB are read from data/, and what is kept of them
is written to results/speech.csv. Takes a few minutes:

    python3 -m research.speech_only sounds
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from research import REPOSITORY, parser_of
from research.robustness import noisy
from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.foreign import EMODB_WITH_BOREDOM
from speech_emotion.inference.predictor import Predictor

SNR_DB = 10
VOICES = Path(__file__).with_name("voices.txt")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("sounds", nargs="*", metavar="FOLDER", help="sounds without speech")
    options = parser.parse_args()
    predictor = Predictor(REPOSITORY / "model.pt", speech_only=True)
    for folder in options.sounds:
        count_sounds(predictor, folder)
    corpora = {"RAVDESS": ravdess.clip_table(options.data), "EmoDB": EMODB_WITH_BOREDOM.clip_table(options.data)}
    kept = pd.concat(kept_clips(predictor, name, clips) for name, clips in corpora.items())
    kept.to_csv(options.results / "speech.csv", index=False)
    print(kept.groupby("corpus")[["quiet", "in_noise"]].mean())


def count_sounds(predictor: Predictor, folder: str) -> None:
    voices = "|".join(line for line in VOICES.read_text().splitlines() if not line.startswith("#"))
    paths = [path for path in find_recordings([folder])[0] if not re.search(voices, path, re.IGNORECASE)]
    rows = list(tqdm(predictor.predict(paths), total=len(paths), desc=folder, unit="sound"))
    with_emotion = [row["url"] for row in rows if row["emotion"]]
    without = [row for row in rows if row["error"] == "nobody speaks"]
    n = len(with_emotion) + len(without)  # without silent, too short and damaged files
    print(
        f"{folder}: {len(with_emotion)} of {n} sounds get an emotion, {len(with_emotion) / n:.1%}",
        *with_emotion,
        sep="\n  ",
    )


def kept_clips(predictor: Predictor, corpus: str, clips: pd.DataFrame) -> pd.DataFrame:
    """Columns corpus, clip, quiet, in_noise; the last two are 1 if the clip gets an emotion, else 0."""
    rate, rows = predictor.features.sample_rate, []
    noise = np.random.default_rng(0).normal(size=10 * rate)
    for clip, path in tqdm(clips[["clip", "path"]].to_numpy(), desc=corpus, unit="clip"):
        samples = load_audio(path, rate).numpy()
        recordings = samples, noisy(samples, rate, noise, SNR_DB)
        quiet, in_noise = (int(bool(predictor.predict_waveform(samples, rate)["emotion"])) for samples in recordings)
        rows.append({"corpus": corpus, "clip": clip, "quiet": quiet, "in_noise": in_noise})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
