"""Export a checkpoint to ONNX."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.network import calibrated
from speech_emotion.optional import needed_by
from speech_emotion.terminal import Parser, program


def main(arguments: list[str] | None = None, name: str = "export") -> int:
    parser = Parser(prog=name, description=__doc__)
    parser.add_argument("checkpoint", metavar="MODEL.pt")
    parser.add_argument("onnx", metavar="MODEL.onnx")
    with program(name) as ending:
        options = parser.parse_args(arguments)
        with needed_by(name, "onnx"):
            export_onnx(load_checkpoint(options.checkpoint), options.onnx)
    return ending.status


class WindowClassifier(nn.Module):
    """A checkpoint as one module, features included: samples (B, window_samples) → probabilities (B, classes)."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        self.network = checkpoint.network.for_inference()
        self.temperature = checkpoint.temperature

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return calibrated(self.network(self.network.front_end(windows)), self.temperature)


def export_onnx(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write the WindowClassifier as ONNX, with labels and feature settings as JSON in the metadata.

    Raises ImportError without onnx and onnxscript.
    """
    # Suppress a warning that torchvision is not installed; its operators are not needed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    program = torch.onnx.export(
        WindowClassifier(checkpoint).eval(),
        (torch.zeros(2, checkpoint.features.window_samples),),
        input_names=["windows"],
        output_names=["probabilities"],
        dynamic_shapes={"windows": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(
        labels=json.dumps(checkpoint.labels), features=json.dumps(asdict(checkpoint.features))
    )
    program.save(path)
