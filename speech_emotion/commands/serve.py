"""The web page, and the same answers for programs: options, addresses, and the server process."""

import argparse
import errno
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from speech_emotion.models.published import PUBLISHED, find_model
from speech_emotion.optional import needed_by
from speech_emotion.terminal import Parser, command_line, positive, printable, say

MODELS = sorted(PUBLISHED, key=lambda model: not model.is_recommended)  # the first that exists is the default
_DESCRIPTORS = 2**13  # open files: one for each connection and each recording of a request


def parse_arguments(arguments: list[str] | None, name: str = "app.py") -> argparse.Namespace:
    parser = Parser(prog=name, description="Classify the emotion of recordings on a web page, and for programs.")
    add = parser.add_argument
    # fmt: off
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only). From other "
        "machines, browsers allow the microphone only on HTTPS pages")
    add("--port", type=int, default=7860, help="port to listen on (default: 7860); 0 for a free one")
    add("--allow-host", action="append", default=[], metavar="NAME", help="host name to answer to, besides localhost "
        "and the address it listens on; may be repeated")
    add("--cors", type=_origin, action="append", default=[], metavar="ORIGIN", help="origin whose pages may send "
        "requests, such as https://example.org; may be repeated")
    add("--model", action="append", metavar="FILE", help="checkpoint to offer; may be repeated; first is the default")
    add("--emotions", action="extend", nargs="+", default=[], metavar="EMOTION", help="the emotions that can occur: "
        "answered unless a client asks for others (default: all of the model)")
    add("--token", type=_token, default=os.environ.get("SPEECH_EMOTION_TOKEN"), help="bearer token that clients must "
        "send (default: $SPEECH_EMOTION_TOKEN)")
    # fmt: on
    for option, name, default, text in (
        ("--max-mb", "recording_mb", 200, "largest recording, in megabytes"),
        ("--max-minutes", "recording_minutes", 10, "longest recording, in minutes"),
        ("--queue", "requests", 64, "most requests being sent, waiting or being answered at once"),
        ("--live", "live", 8, "most live recordings at once"),
        ("--timeout", "silence_s", 20, "seconds of silence after which a live recording is ended"),
    ):
        add(option, dest=name, type=positive, default=default, metavar="N", help=f"{text} (default: {default})")
    return parser.parse_args(arguments)


def _token(text: str) -> str:
    if text.split() != [text]:  # `$(openssl …)` is empty without openssl, and would let everyone in
        raise argparse.ArgumentTypeError("the token (or $SPEECH_EMOTION_TOKEN) is empty or has spaces")
    return text


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]+)?", text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin, such as https://example.org (without a path)")
    return text.lower()  # as browsers send it


def main(arguments: list[str] | None = None, name: str = "app.py") -> int:
    options = parse_arguments(arguments, name)
    logging.basicConfig(level=logging.CRITICAL)  # without warnings of libraries about damaged forms of clients
    try:
        with command_line():
            serve(options)
    except KeyboardInterrupt:
        return 0
    except (OSError, OverflowError, ValueError, ImportError) as error:
        say(f"{name}: {getattr(error, 'strerror', None) or error}", is_error=True)
        return 2
    return 0


def serve(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C. Raises OSError for an address that is not available, CheckpointError for a missing model."""
    with needed_by("the web page", "fastapi"):
        import uvicorn
        import wsproto  # noqa: F401

    from speech_emotion.inference.predictor import Predictor
    from speech_emotion.serving.api import build_app
    from speech_emotion.serving.guard import HEADERS, Limits
    from speech_emotion.serving.service import Service

    limits = Limits(**{name: value for name, value in vars(options).items() if name in Limits.__dataclass_fields__})

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            print(f"open {where} (Ctrl-C stops)", flush=True)  # from here on, it stops without a traceback

        async def shutdown(self, sockets=None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # about interrupted requests
            await super().shutdown(sockets)

    with _listen(options.host, options.port) as listening:
        models = load_models(options.model, partial(Predictor, speech_only=True), options.emotions)
        service = Service(models, limits, options.token, options.emotions)
        host, port = listening.getsockname()[:2]
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        config = uvicorn.Config(
            build_app(service, [*options.allow_host, options.host], options.cors),
            http="h11",
            headers=list(HEADERS.items()),
            ws="wsproto",  # unlike websockets, it answers a handshake that is not valid
            ws_max_size=limits.message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=limits.silence_s,
            ws_ping_timeout=limits.silence_s,
            log_level="error",
            backlog=limits.sockets,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=1,  # an open page keeps its connection
        )
        _allow_many_files()
        try:
            Server(config).run(sockets=[listening])
        finally:
            if service.running:  # Python would wait for a thread that is decoding
                sys.stdout.flush()
                os._exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError with a remedy if the port is in use."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(f"port {port} is in use; choose another with --port, or a free one with --port 0") from error


def _allow_many_files() -> None:
    """Where the system allows it, because asyncio spins when it cannot accept a connection."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def load_models(files: list[str] | None, predictor: Callable, emotions: Sequence[str] = ()) -> dict:
    """Predictors by file name; without `files`, the published models that have these emotions.

    Raises CheckpointError, and ValueError if two models have the same file name or one lacks an emotion.
    """
    is_chosen = files is not None
    if files is None:
        files = []
        for model in MODELS:
            with suppress(FileNotFoundError):  # one of the others is enough
                files.append(find_model(model.file))
    models = {printable(Path(file).name): predictor(file) for file in files}
    if len(models) < len(files):
        raise ValueError("two models have the same file name; rename one")
    refusals = {}
    for name, model in models.items() if emotions else ():
        try:
            model.for_emotions(emotions)
        except ValueError as error:
            refusals[name] = error
    if refusals and (is_chosen or len(refusals) == len(models)):
        raise next(iter(refusals.values()))
    for name, error in refusals.items():
        say(f"{name} is not offered: {error}", is_error=True)
    return {name: model for name, model in models.items() if name not in refusals}
