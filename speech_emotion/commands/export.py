"""Export a checkpoint to ONNX."""

from speech_emotion.commands.options import Parser
from speech_emotion.models.checkpoint import CheckpointError, load_checkpoint
from speech_emotion.models.onnx_export import export_onnx
from speech_emotion.terminal import say


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", metavar="MODEL.pt")
    parser.add_argument("onnx", metavar="MODEL.onnx")
    options = parser.parse_args(arguments)
    try:
        export_onnx(load_checkpoint(options.checkpoint), options.onnx)
    except ModuleNotFoundError as error:
        say(f"onnx_export: {error}; pip install -r requirements-onnx.txt", is_error=True)
        return 2
    except (OSError, CheckpointError) as error:
        say(f"onnx_export: {error}", is_error=True)
        return 2
    return 0
