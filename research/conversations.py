"""How accurately the timeline of a long recording finds and classifies its clips.

    python3 -m research.conversations                  # EmoDB, under data/
    python3 -m research.conversations --corpus nemo    # settings of audio/stretches.py were chosen on this one

Each recording has twelve clips of one speaker in random order, 0.4 to 2 s apart, in room noise. A call has two
speakers, one in each channel, who take turns; crosstalk is 20 dB fainter. The prediction for a clip is that of the
timeline row that overlaps it most. For comparison, the clips are also classified as separate files: as recorded, and
cut from the recording.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from tqdm import tqdm

from research import REPOSITORY
from research.tables import conversations_table
from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.stretches import HEARD, frame_energy
from speech_emotion.corpora.foreign import EMODB, NEMO
from speech_emotion.inference.predictor import Predictor

COLUMNS = [
    "kind", "recording", "channel", "clip", "emotion", "alone", "in_noise", "timeline", "start_error_s", "heard_s",
    "missed_s",
]  # fmt: skip
CORPORA = {"emodb": EMODB, "nemo": NEMO}
RATE = 16_000  # Hz
CLIPS = 12  # per voice in a recording
PAUSE_S = (0.4, 2.0)
NOISE_DB = -40  # pink room noise, relative to the voice
CROSSTALK_DB = -20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=CORPORA, default="emodb", help="(default: emodb)")
    parser.add_argument("--data", default=REPOSITORY / "data", metavar="FOLDER", help="(default: data)")
    parser.add_argument("--model", default=REPOSITORY / "model_any_voice.pt", metavar="FILE")
    parser.add_argument("--recordings", type=int, default=4, metavar="N", help="recordings per speaker (default: 4)")
    parser.add_argument("--out", metavar="FILE", help="table with a row per clip (default for EmoDB: in results/)")
    options = parser.parse_args()
    predictor = Predictor(options.model, speech_only=False)
    rng = np.random.default_rng(0)
    voices = [
        voice
        for _, clips in CORPORA[options.corpus].clip_table(options.data).groupby("speaker", sort=True)
        for voice in voices_of(clips, options.recordings, rng)
    ]
    clips = pd.concat(voices)
    alone = {row["url"]: row["emotion"] for row in predictor.predict(clips["path"])}
    recordings = {
        "one voice": [recording([voice], rng) for voice in voices],
        "call": [recording(list(pair), rng) for pair in zip(voices, voices[len(voices) // 2 :], strict=False)],
    }
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, some in recordings.items():
            for number, (samples, clips) in enumerate(tqdm(some, desc=kind, unit="recording")):
                path = Path(folder, "recording.wav")
                soundfile.write(path, samples, RATE, subtype="FLOAT")
                table = classified(predictor, path, samples, clips)
                tables.append(table.assign(kind=kind, recording=number, alone=clips["path"].map(alone)))
    table = pd.concat(tables)[COLUMNS]
    out = options.out or (REPOSITORY / "results" / "conversations.csv" if options.corpus == "emodb" else None)
    if out:
        table.to_csv(out, index=False, float_format="%.2f")
    print(conversations_table(table))


def voices_of(clips: pd.DataFrame, n: int, rng: np.random.Generator) -> list[pd.DataFrame]:
    """`n` times `CLIPS` clips of one speaker, as many of each emotion as there are."""
    clips = clips.sample(frac=1, random_state=int(rng.integers(2**32)))
    clips = clips.assign(turn=clips.groupby("emotion").cumcount()).sort_values("turn", kind="stable")
    parts = [clips.iloc[first : first + CLIPS] for first in range(0, n * CLIPS, CLIPS)]
    return [part.sample(frac=1, random_state=int(rng.integers(2**32))) for part in parts if len(part) == CLIPS]


def recording(voices: list[pd.DataFrame], rng: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """(samples, channels), and the clips with their channel and the start and end of their audible part."""
    parts, rows, position = [np.zeros((0, len(voices)))], [], 0
    for turn in range(CLIPS):
        for channel, voice in enumerate(voices):
            clip = voice.iloc[turn]
            samples = load_audio(clip["path"], RATE)
            heard = np.flatnonzero(frame_energy(samples, RATE) >= HEARD * frame_energy(samples, RATE).max())
            pause = round(rng.uniform(*PAUSE_S) * RATE)
            part = np.zeros((pause + len(samples), len(voices)))
            part[pause:, channel] = samples
            start = (position + pause) / RATE
            rows.append(
                {
                    "clip": clip["clip"], "path": clip["path"], "emotion": clip["emotion"], "channel": channel + 1,
                    "start": start + heard[0] / 100, "end": start + (heard[-1] + 1) / 100,
                    "samples": slice(position + pause, position + len(part)),
                }
            )  # fmt: skip
            parts.append(part)
            position += len(part)
    samples = np.concatenate([*parts, np.zeros((RATE, len(voices)))])
    leak = 10 ** (CROSSTALK_DB / 20)
    samples = samples + leak * (samples.sum(axis=1, keepdims=True) - samples)
    level = np.sqrt(np.mean(samples[samples.any(axis=1)] ** 2)) * 10 ** (NOISE_DB / 20)
    return samples + level * pink_noise(samples.shape, rng), pd.DataFrame(rows)


def pink_noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(samples, channels) with a mean square of 1."""
    spectrum = np.fft.rfft(rng.normal(size=shape), axis=0)
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)).clip(min=1))[:, None], shape[0], axis=0)
    return noise / noise.std(axis=0)


def classified(predictor: Predictor, path: Path, samples: np.ndarray, clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with the predictions of the timeline, and of the clip cut from the recording."""
    channels = "each" if samples.shape[1] > 1 else "mix"
    rows = pd.DataFrame(next(predictor.answers([path], channels=channels)).stretches)
    rows["channel"] = rows.get("channel", 1)
    predictions = []
    for clip in clips.itertuples():
        stretches = rows[rows["channel"] == clip.channel]
        overlap = (stretches["end"].clip(upper=clip.end) - stretches["start"].clip(lower=clip.start)).clip(lower=0)
        predictions.append(
            {
                "timeline": stretches["emotion"][overlap.idxmax()] if overlap.max() > 0 else "none",
                "in_noise": predictor.predict_waveform(samples[clip.samples, clip.channel - 1], RATE)["emotion"],
                "start_error_s": (stretches["start"] - clip.start).abs().min(),
                "heard_s": clip.end - clip.start,
                "missed_s": clip.end - clip.start - overlap.sum(),
            }
        )
    return clips.join(pd.DataFrame(predictions, index=clips.index))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
