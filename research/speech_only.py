"""How many recordings get an emotion with --speech-only: real sounds without speech, RAVDESS and EmoDB.

Takes folders of sounds, such as the packages listed in docs/speech.md; files that match a pattern in
research/voices.txt contain voices and are left out. RAVDESS and EmoDB are read from data/. Takes a few minutes:

    python3 -m research.speech_only sounds
"""

import argparse
import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

from research import REPOSITORY
from research.robustness import noisy
from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.foreign import EMODB_WITH_BOREDOM
from speech_emotion.inference.predictor import Predictor

SNR_DB = 10
VOICES = Path(__file__).with_name("voices.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="*", metavar="FOLDER", help="sounds without speech")
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER")
    options = parser.parse_args()
    predictor = Predictor(REPOSITORY / "model.pt", speech_only=True)
    for folder in options.sounds:
        count_sounds(predictor, folder)
    corpora = {"RAVDESS": ravdess.clip_table(options.data), "EmoDB": EMODB_WITH_BOREDOM.clip_table(options.data)}
    for name, clips in corpora.items():
        count_clips(predictor, name, clips["path"])


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


def count_clips(predictor: Predictor, name: str, paths: list[str]) -> None:
    rate, kept = predictor.features.sample_rate, []
    noise = np.random.default_rng(0).normal(size=10 * rate)
    for path in tqdm(paths, desc=name, unit="clip"):
        samples = load_audio(path, rate).numpy()
        recordings = samples, noisy(samples, rate, noise, SNR_DB)
        kept.append([bool(predictor.predict_waveform(samples, rate)["emotion"]) for samples in recordings])
    quiet, in_noise = np.mean(kept, axis=0)
    print(f"{name}, {len(kept)} clips: {quiet:.1%} get an emotion, {in_noise:.1%} in white noise at {SNR_DB} dB SNR")


if __name__ == "__main__":
    main()
