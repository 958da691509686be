"""Simulated recording conditions: each maps (samples,) float32 at a sample rate to the same.

They are applied to test clips only, and share no code with the augmentation used in training.

    python3 -m research.robustness                   # the models of split 0 on its test clips: results/robustness.csv
    python3 -m research.robustness --folds FOLDER    # instead, the models of the folds by actor on the speech of their
                                                     # unseen actors: results/robustness-unseen.csv

FOLDER is that of research.adaptation.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import av
import librosa
import numpy as np
import pandas as pd
from tqdm import tqdm

from research import REPOSITORY, parser_of
from research.tables import robustness_table
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora.ravdess import clip_table
from speech_emotion.corpora.splits import ACTOR_FOLDS
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.published import PUBLISHED

_RATE = 48_000  # Hz, RAVDESS's sample rate

Condition = Callable[[np.ndarray, int], np.ndarray]
Predict = Callable[[list[np.ndarray]], dict[str, Sequence[str]]]  # recordings → emotions, by column


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="the five models tested on unseen actors")
    options = parser.parse_args()
    clips = clip_table(options.data)
    if options.folds:
        answers, name = measure_folds(options.folds, clips, options.device), "robustness-unseen"
    else:
        answers, name = measure_published(REPOSITORY, clips, options.device), "robustness"
    answers.to_csv(options.results / f"{name}.csv", index=False)
    print(robustness_table(answers))


def without_silence(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Both ends cut off as long as the level is 40 dB below the loudest point."""
    return librosa.effects.trim(samples, top_db=40)[0]


def padded(samples: np.ndarray, sample_rate: int, before_s: float = 0, after_s: float = 0) -> np.ndarray:
    return np.pad(samples, (round(before_s * sample_rate), round(after_s * sample_rate)))


def at_level(samples: np.ndarray, sample_rate: int, gain_db: float) -> np.ndarray:
    """Quieter, and stored with 16 bits, so that little remains of the faintest clips."""
    return np.round(samples * 10 ** (gain_db / 20) * 32767) / 32767


def clipped(samples: np.ndarray, sample_rate: int, overload_db: float) -> np.ndarray:
    """Clipped, with the loudest point `overload_db` above full scale."""
    return np.clip(samples / np.abs(samples).max() * 10 ** (overload_db / 20), -1, 1)


def resampled(samples: np.ndarray, sample_rate: int, to: int) -> np.ndarray:
    """Resampled to the rate `to` and back."""
    low = librosa.resample(samples, orig_sr=sample_rate, target_sr=to)
    return librosa.resample(low, orig_sr=to, target_sr=sample_rate)


def coded(samples: np.ndarray, sample_rate: int, codec: str, container: str, bit_rate: int) -> np.ndarray:
    """Encoded with a lossy codec and decoded, in memory."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=sample_rate, layout="mono", bit_rate=bit_rate)
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = sample_rate
        for resampled_frame in av.AudioResampler(stream.format, "mono", sample_rate, stream.frame_size).resample(frame):
            output.mux(stream.encode(resampled_frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as source:
        to_float = av.AudioResampler("flt", "mono", sample_rate)
        frames = [part.to_ndarray()[0] for frame in source.decode(audio=0) for part in to_float.resample(frame)]
    return np.concatenate(frames)


def noisy(samples: np.ndarray, sample_rate: int, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """With `noise` added, `snr_db` below the power of the audible part."""
    noise = np.resize(noise, samples.shape)
    heard = without_silence(samples, sample_rate)
    gain = np.sqrt(np.mean(heard**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return samples + gain * noise


def reverberated(samples: np.ndarray, sample_rate: int, rt60_s: float, seed: int = 0) -> np.ndarray:
    """Reverberation by Polack's model: decaying noise 5 ms after the direct sound, with the same energy."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(rt60_s * sample_rate)) / sample_rate
    tail = rng.normal(size=len(time)) * 10 ** (-3 * time / rt60_s) * (time > 0.005)
    impulse = tail / np.sqrt(np.sum(tail**2))
    impulse[0] = 1.0
    length = len(samples) + len(impulse) - 1
    return np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(impulse, length), length)[: len(samples)]


def conditions(voices: list[np.ndarray], sample_rate: int) -> dict[str, Condition]:
    """All conditions by name; `voices` are the speakers of the babble."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=10 * sample_rate)
    loudness = [np.sqrt(np.mean(voice**2)) for voice in voices]
    babble = sum(np.resize(voice / level, 10 * sample_rate) for voice, level in zip(voices, loudness, strict=True))
    return {
        "as recorded": lambda samples, sample_rate: samples,
        "silence cut off": without_silence,
        "1 s of silence before": partial(padded, before_s=1),
        "2 s of silence after": partial(padded, after_s=2),
        "level -30 dB": partial(at_level, gain_db=-30),
        "level -12 dB": partial(at_level, gain_db=-12),
        "6 dB overload, clipped": partial(clipped, overload_db=6),
        "sampled at 16 kHz": partial(resampled, to=16_000),
        "sampled at 8 kHz": partial(resampled, to=8_000),
        "MP3, 64 kbit/s": partial(coded, codec="libmp3lame", container="mp3", bit_rate=64_000),
        "Opus, 24 kbit/s": partial(coded, codec="libopus", container="ogg", bit_rate=24_000),
        "white noise, 20 dB": partial(noisy, noise=white, snr_db=20),
        "white noise, 10 dB": partial(noisy, noise=white, snr_db=10),
        "babble, 20 dB": partial(noisy, noise=babble, snr_db=20),
        "babble, 10 dB": partial(noisy, noise=babble, snr_db=10),
        "room, RT60 0.4 s": partial(reverberated, rt60_s=0.4),
    }


def measure(predict: Predict, test: pd.DataFrame, babblers: pd.DataFrame) -> pd.DataFrame:
    """What `predict` says of the `test` clips under each condition: condition, clip, emotion, and its columns.

    `babblers` are training clips that are mixed to babble. A prediction is empty if there is an error.
    """
    voices, clips = ([load_audio(path, _RATE).numpy() for path in part["path"]] for part in (babblers, test))
    tables = []
    for name, condition in tqdm(conditions(voices, _RATE).items(), unit="condition"):
        said = predict([condition(samples, _RATE) for samples in clips])
        tables.append(test[["clip", "emotion"]].assign(**said))
        tables[-1].insert(0, "condition", name)
    return pd.concat(tables, ignore_index=True)


def measure_published(folder: Path, clips: pd.DataFrame, device: str) -> pd.DataFrame:
    """`measure` for the models in `folder` that were trained on split 0, on its test clips among `clips`."""
    test = load_checkpoint(folder / PUBLISHED[0].file).split["test"]
    files = [model.file for model in PUBLISHED if load_checkpoint(folder / model.file).split["test"] == test]
    predictors = {file: Predictor(folder / file, device, speech_only=False) for file in files}

    def predict(recordings: list[np.ndarray]) -> dict[str, list[str]]:
        return {
            file: [predictor.predict_waveform(samples, _RATE)["emotion"] for samples in recordings]
            for file, predictor in predictors.items()
        }

    is_test = clips["clip"].isin(test)
    return measure(predict, clips[is_test], _babblers(clips[~is_test]))


def measure_folds(folder: Path, clips: pd.DataFrame, device: str) -> pd.DataFrame:
    """`measure` for the speech of the actors that each any8-foldN.pt in `folder` was not trained on.

    The columns are plain, and adapted: normalised by the recordings of one actor under the same condition.
    """
    tables = []
    for fold, actors in enumerate(ACTOR_FOLDS):
        is_unseen = clips["actor"].isin(actors)
        test = clips[is_unseen & (clips["channel"] == "speech")]
        predictor = Predictor(folder / f"any8-fold{fold}.pt", device, speech_only=False)
        predict = partial(predict_adapted, predictor, test["speaker"].to_numpy())
        tables.append(measure(predict, test, _babblers(clips[~is_unseen])))
    return pd.concat(tables, ignore_index=True)


def predict_adapted(predictor: Predictor, speakers: np.ndarray, waveforms: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Emotions without and with the statistics of each speaker's recordings."""
    recordings = []
    for samples in waveforms:
        recordings.append(predictor.recording("", lambda samples=samples: [(samples.astype(np.float32), _RATE)]))
        for _ in predictor.embed_in_turns(recordings[-1]):
            pass
    said = {name: np.empty(len(recordings), object) for name in ("plain", "adapted")}
    for speaker in np.unique(speakers):
        voices = Voices(predictor)
        spoken = np.flatnonzero(speakers == speaker)
        for number in spoken:
            voices.hear("", recordings[number].embeddings())
        for name, statistics in (("plain", None), ("adapted", voices.statistics())):
            said[name][spoken] = [
                predictor.answer(recordings[number], statistics).rows[0]["emotion"] for number in spoken
            ]
    return said


def _babblers(training: pd.DataFrame) -> pd.DataFrame:
    return training[training["channel"] == "speech"].sample(8, random_state=0)


if __name__ == "__main__":
    main()
