"""How often --speech-only is right: on RAVDESS and EmoDB, quiet and in noise, and on sounds in which nobody speaks.

With what is under data/, in some minutes: python3 benchmarks/speech_only.py
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from non_speech import RATE, non_speech  # noqa: E402

from speech_emotion.audio.resampling import load_audio  # noqa: E402
from speech_emotion.corpora import emodb, ravdess  # noqa: E402
from speech_emotion.evaluation.robustness import noisy  # noqa: E402
from speech_emotion.inference.predictor import Predictor  # noqa: E402

SNR_DB = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER")
    options = parser.parse_args()
    predictor = Predictor(REPOSITORY / "model.pt", speech_only=True)
    rate = predictor.features.sample_rate

    def has_emotion(samples: np.ndarray, sample_rate: int) -> bool:
        row = predictor.predict_waveform(samples, sample_rate)
        assert row["emotion"] or row["error"] == "nobody speaks", row
        return bool(row["emotion"])

    sounds = [has_emotion(samples, RATE) for _, samples in non_speech()]
    print(f"sounds without speech: {sum(sounds)} of {len(sounds)} get an emotion", flush=True)
    corpora = {"RAVDESS": ravdess.clip_table(options.data), "EmoDB": emodb.clip_table(options.data, boredom=True)}
    for name, clips in corpora.items():
        noise, kept = np.random.default_rng(0).normal(size=10 * rate), []
        for path in tqdm(clips["path"], desc=name, unit="clip"):
            samples = load_audio(path, rate).numpy()
            kept.append((has_emotion(samples, rate), has_emotion(noisy(samples, rate, noise, SNR_DB), rate)))
        quiet, in_noise = np.mean(kept, axis=0)
        print(f"{name}, {len(kept)} clips: {quiet:.1%} keep theirs, in white noise at {SNR_DB} dB SNR {in_noise:.1%}")


if __name__ == "__main__":
    main()
