"""Export a checkpoint to ONNX."""

from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.onnx_export import export_onnx
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
