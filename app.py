"""A web page that classifies recordings, and the same answers for programs: python3 app.py."""

import argparse
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from speech_emotion.commands.options import Parser, positive
from speech_emotion.models.published import PUBLISHED
from speech_emotion.serving.limits import Limits
from speech_emotion.terminal import command_line, printable, say

HERE = Path(__file__).parent
MODELS = sorted(PUBLISHED, key=lambda model: not model.is_recommended)  # the first that exists is the default


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(description="Classify the emotion of recordings on a web page, and for programs.")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine only). From other machines, browsers allow the "
        "microphone only on HTTPS pages",
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860); 0 for a free one")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name to answer to, besides localhost and the address it listens on; may be repeated",
    )
    parser.add_argument(
        "--model", action="append", metavar="FILE", help="checkpoint to offer; may be repeated; first is the default"
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("SPEECH_EMOTION_TOKEN"),
        help="bearer token that clients must send (default: $SPEECH_EMOTION_TOKEN)",
        type=_token,
    )
    for name, unit, text in (
        ("recording_mb", "--max-mb", "largest recording, in megabytes"),
        ("recording_minutes", "--max-minutes", "longest recording, in minutes"),
        ("requests", "--queue", "most requests being sent, waiting or being answered at once"),
        ("live", "--live", "most live recordings at once"),
        ("silence_s", "--timeout", "seconds without a byte after which an unfinished request is dropped"),
    ):
        default = getattr(Limits, name)
        parser.add_argument(
            unit, dest=name, type=positive, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    return parser.parse_args(arguments)


def _token(text: str) -> str:
    if text.split() != [text]:  # `$(openssl …)` is empty without openssl, and would let everyone in
        raise argparse.ArgumentTypeError("the token (or $SPEECH_EMOTION_TOKEN) is empty or has spaces")
    return text


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.CRITICAL)  # without warnings of libraries about damaged forms of clients
    try:
        with command_line():  # so that the folder of recordings is deleted, however the server ends
            serve(options)
    except KeyboardInterrupt:
        return 0
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "fastapi_swagger", "python_multipart", "uvicorn", "websockets"):
            raise
        say("app.py: the web page needs more packages: pip install -r requirements-app.txt", is_error=True)
        return 2
    except (OSError, OverflowError, ValueError, ImportError) as error:
        say(f"app.py: {getattr(error, 'strerror', None) or error}", is_error=True)
        return 2
    return 0


def serve(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises OSError for an address that is not available, CheckpointError for a missing model."""
    import uvicorn  # first, as it may be missing

    from speech_emotion.evaluation.plots import use_style
    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.serving.api import build_app
    from speech_emotion.serving.folder import run_folder
    from speech_emotion.serving.guard import HEADERS, http_with_timeout, websocket_with_timeout
    from speech_emotion.serving.service import Service
    from speech_emotion.serving.turns import Turns

    limits = Limits(**{name: value for name, value in vars(options).items() if name in Limits.__dataclass_fields__})
    with _listen(options.host, options.port) as listening, run_folder() as folder:
        use_style()
        turns = Turns()
        try:
            service = Service(
                load_models(options.model, partial(Predictor, speech_only=True)),
                turns,
                folder,
                limits,
                options.token,
            )
            host, port = listening.getsockname()[:2]
            config = uvicorn.Config(
                build_app(service, [*options.allow_host, options.host], _results()),
                http=http_with_timeout(limits),
                headers=list(HEADERS.items()),
                ws=websocket_with_timeout(limits),
                ws_max_size=limits.message_bytes,
                ws_per_message_deflate=False,
                ws_ping_interval=limits.silence_s,
                ws_ping_timeout=limits.silence_s,
                log_level="error",
                limit_concurrency=limits.connections,
                timeout_graceful_shutdown=1,  # an open page keeps its connection
            )
            where = f"http://{f'[{host}]' if ':' in host else host}:{port}"

            class Server(uvicorn.Server):
                async def startup(self, sockets=None) -> None:
                    await super().startup(sockets)
                    print(f"open {where} (Ctrl-C stops)", flush=True)  # from here on, it stops without a traceback

                async def shutdown(self, sockets=None) -> None:
                    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # about interrupted requests
                    await super().shutdown(sockets)

            Server(config).run(sockets=[listening])
        finally:
            turns.stop()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError with a remedy if the port is in use."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(f"port {port} is in use; choose another with --port, or a free one with --port 0") from error


def _results() -> str:
    """The section of the README on how good the models are."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    _, heading, rest = text.partition("\n## Results\n")
    return heading.lstrip() + rest.partition("\n## ")[0] if heading else text


def load_models(files: list[str] | None, predictor: Callable) -> dict:
    """Predictors by file name. Raises CheckpointError, and ValueError if two models have the same file name."""
    if files is None:
        files = [HERE / model.file for model in MODELS if not model.is_recommended or (HERE / model.file).exists()]
    models = {printable(Path(file).name): predictor(file) for file in files}
    if len(models) < len(files):
        raise ValueError("two models have the same file name; rename one")
    return models


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # unlike sys.exit, does not wait for a thread that is decoding
