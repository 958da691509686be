"""The smallest network that training, checkpoints and Predictor take, for tests."""

from dataclasses import dataclass

import torch
from torch import nn

from speech_emotion.models.features import MFCC, FeatureSettings


@dataclass(frozen=True)
class LinearSettings:
    n_classes: int
    n_mfcc: int


class LinearNetwork(nn.Module):
    """One layer on the mean MFCC."""

    kind, n_views, takes_statistics, speech_only = "linear", 1, False, False

    def __init__(self, settings: LinearSettings, features: FeatureSettings):
        super().__init__()
        self.settings, self.features, self.front_end = settings, features, MFCC(features)
        self.layer = nn.Linear(settings.n_mfcc, settings.n_classes)

    @classmethod
    def for_features(cls, features, n_classes):
        return cls(LinearSettings(n_classes, features.n_mfcc), features)

    @classmethod
    def from_settings(cls, settings, features):
        return cls(LinearSettings(**settings), FeatureSettings(**features))

    def forward(self, inputs):
        return self.classify(self.embed(inputs))

    def embed(self, inputs):
        return inputs.mean(dim=2) / 100

    def classify(self, embedding, statistics=None):
        return self.layer(embedding)

    def logits_of_views(self, views):
        return self(views[0])[None]

    @torch.no_grad()
    def shift_logits(self, by):
        self.layer.bias += by

    def for_inference(self):
        return self
