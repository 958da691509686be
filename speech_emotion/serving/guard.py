"""Limits for clients, and checks before any request is handled, so that no client can block or deceive the others."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

MEGABYTE = 2**20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEADERS = {  # of every response of the application
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Limits:
    """What clients may ask for; the first five are options of the command."""

    recording_mb: int = 200
    recording_minutes: int = 10
    requests: int = 64  # being sent, waiting or being answered; further ones are refused with 503
    live: int = 8  # live recordings at once; 10 minutes at 48 kHz need 58 MB of memory
    silence_s: int = 20  # of a live client, which neither sends nor reads
    request_mb: int = 1000
    files: int = 100  # per request
    channels: int = 16  # if each is classified
    fields: int = 200
    field_bytes: int = 1024
    taught: int = 4  # models being taught at once, and kept for open pages, with about 40 MB each
    connections: int = 500
    sockets: int = 100  # WebSockets among the connections, including those that have not begun a recording
    live_rates: tuple[int, int] = (8_000, 48_000)  # Hz
    message_bytes: int = 2**20


class Guard:
    """An ASGI application around another one.

    Refuses foreign Host headers, so that no web page can read responses by DNS rebinding, and foreign origins, so that
    none can send requests; browsers let any page open a WebSocket. The only WebSocket is /live.
    """

    def __init__(self, app, allow_hosts: Iterable[str], allow_origins: Iterable[str], limits: Limits):
        """`allow_hosts` and `allow_origins` are accepted, too, such as the host name of an HTTPS proxy."""
        self.app, self.allow_origins, self.limits = app, allow_origins, limits
        self.allow_hosts = [host.lower() for host in allow_hosts]
        self.n_sockets = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        # Another site could point its name here, but not the address that the server listens on.
        addresses = [*_LOOPBACK, scope["server"][0]]
        hosts = [f"[{name}]" if ":" in name else name for name in addresses] + self.allow_hosts

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "websocket.http.response.start":  # uvicorn adds them to all other responses
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = message | {"headers": [*message["headers"], *ours]}
            await send(message)

        await TrustedHostMiddleware(self._check_origin, hosts, www_redirect=False)(scope, receive, send_with_headers)

    async def _check_origin(self, scope, receive, send) -> None:
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        host, origin = headers[b"host"], headers.get(b"origin")
        is_behind_proxy = urlsplit(f"http://{host}").hostname not in (*_LOOPBACK, scope["server"][0])
        refusal = None
        if origin not in (None, f"http://{host}", *[f"https://{host}"] * is_behind_proxy, *self.allow_origins):
            refusal = 403, "this server does not answer requests from pages of other sites"
        elif scope["type"] == "http":
            return await self.app(scope, receive, send)
        elif b"content-length" in headers or b"transfer-encoding" in headers:
            refusal = 400, "the handshake of a WebSocket has no body"
        elif scope["path"] != "/live":
            refusal = 404, "the only WebSocket is /live"
        elif self.n_sockets >= self.limits.sockets:
            refusal = 503, "too many WebSockets at once; try again in a moment"
        if refusal:
            status, sentence = refusal
            return await JSONResponse({"detail": sentence}, status)(scope, receive, send)
        self.n_sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.n_sockets -= 1
