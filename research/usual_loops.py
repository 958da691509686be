"""Common ways to classify a folder of recordings: usual_loops.py small|cnn|pipeline FOLDER writes loop.csv."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main(kind: str, folder: Path) -> None:
    classify = pipeline() if kind == "pipeline" else librosa_loop(kind)
    with open("loop.csv", "w", newline="") as file, torch.inference_mode():
        for path in sorted(folder.iterdir()):
            csv.writer(file).writerow([path, *classify(path)])


def librosa_loop(kind: str) -> Callable[[Path], list[float]]:
    from speech_emotion.models.cnn import EmotionCNN
    from speech_emotion.models.features import FeatureSettings

    features = FeatureSettings()
    if kind == "cnn":
        n_mfcc, n_frames = features.n_mfcc, features.n_frames
        network = EmotionCNN.for_features(features, 8)
    else:
        n_mfcc, n_frames, blocks = 32, 130, []  # 3 s in steps of 512 samples
        for n_in, n_out in ((1, 16), (16, 32), (32, 32)):
            blocks += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 8)
        network = nn.Sequential(nn.Unflatten(1, (1, n_mfcc)), *blocks, *head)
    network.eval()

    def classify(path: Path) -> list[float]:
        samples, rate = librosa.load(path)
        mfcc = librosa.util.fix_length(librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=n_mfcc), size=n_frames)
        return network(torch.from_numpy(mfcc)[None]).softmax(dim=1)[0].tolist()

    return classify


def pipeline() -> Callable[[Path], list[float]]:
    from transformers import (
        AudioClassificationPipeline,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )

    network = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(num_labels=8)).eval()  # the size of wav2vec2-base
    whole = AudioClassificationPipeline(model=network, feature_extractor=Wav2Vec2FeatureExtractor(), device="cpu")

    def classify(path: Path) -> list[float]:
        samples, _ = librosa.load(path, sr=16_000)
        heard = samples[16_000 : 4 * 16_000]  # the window that eval.py uses
        return [answer["score"] for answer in whole(heard, top_k=8)]

    return classify


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
