"""Checks before any request is handled: Host and Origin headers, and time limits."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import h11
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from speech_emotion.serving.limits import Limits

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"http": 80, "https": 443}  # default ports
HEADERS = {  # of every response, including those of uvicorn itself
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """An ASGI application around another one.

    Refuses foreign Host headers, so that no web page can read responses by DNS rebinding, and foreign origins, so that
    none can send requests; browsers let any page open a WebSocket. A client that stops sending in the middle of its
    request is disconnected.
    """

    def __init__(self, app, allow_hosts: Iterable[str], limits: Limits):
        """`allow_hosts` are further host names that are accepted, such as that of an HTTPS proxy."""
        self.app, self.limits = app, limits
        self.allow_hosts = {host.lower() for host in allow_hosts}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)

        async def send_on(message: dict) -> None:
            await asyncio.wait_for(send(message), self.limits.request_s)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(headers, scope["server"][0]):
            response = JSONResponse({"detail": refusal}, 403, HEADERS if scope["type"] == "websocket" else None)
            return await response(scope, receive, send_on)
        if scope["type"] == "websocket":  # which has its own time limits
            return await self.app(scope, receive, send)
        return await self.app(scope, self._in_time(receive), send_on)

    def _refusal(self, headers: dict[str, str], listening: str) -> str:
        host = headers.get("host", "")
        name, _ = _authority(f"http://{host}")
        # Another site could point its name here, but not the address that the server listens on.
        if name not in {*_LOOPBACK, *self.allow_hosts, listening}:
            return f"this server does not answer as {host[:100]!r}; allow the name with --allow-host"
        origin = headers.get("origin")
        if origin is None:
            return ""
        scheme = origin.partition("://")[0]
        schemes = ("http", "https") if name in self.allow_hosts - _LOOPBACK else ("http",)
        if scheme in schemes and _authority(origin) == _authority(f"{scheme}://{host}"):
            return ""
        return "this server does not answer requests from pages of other sites"

    def _in_time(self, receive):
        """`receive`, which raises 408 if the client takes too long to send its request."""
        loop = asyncio.get_running_loop()
        deadline, whole = loop.time() + self.limits.request_s, False

        async def receive_in_time() -> dict:
            nonlocal whole
            patience = None if whole else min(self.limits.silence_s, deadline - loop.time())
            try:
                message = await asyncio.wait_for(receive(), patience)
            except (TimeoutError, asyncio.TimeoutError):
                raise HTTPException(408, "the request took too long to arrive", {"connection": "close"}) from None
            whole = not message.get("more_body", False)
            return message

        return receive_in_time


def http_with_timeout(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, which also disconnects clients that are idle for too long.

    uvicorn itself waits forever for the headers, and for the rest of a request that is already answered.
    """

    class Protocol(H11Protocol):
        _idle = None

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc) -> None:
            super().connection_lost(exc)
            self._idle.cancel()

        def handle_websocket_upgrade(self, event) -> None:
            self._idle.cancel()
            super().handle_websocket_upgrade(event)

        def send_400_response(self, msg: str) -> None:
            """The response to invalid HTTP, with the same headers as every other response."""
            kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
            headers = [*kind, *self.server_state.default_headers]
            content = JSONResponse({"detail": msg}).body
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def _wait(self) -> None:
            if self._idle:
                self._idle.cancel()
            self._idle = self.loop.call_later(limits.silence_s, self._hang_up)

        def _hang_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    return Protocol


def websocket_with_timeout(limits: Limits) -> type[WebSocketsSansIOProtocol]:
    """uvicorn's WebSocket protocol, which also disconnects clients that do not read.

    uvicorn itself would wait until they have taken the last bytes.
    """

    class Protocol(WebSocketsSansIOProtocol):
        def on_task_complete(self, task) -> None:
            super().on_task_complete(task)
            self.loop.call_later(limits.silence_s, self.transport.abort)

        def keepalive_timeout(self) -> None:
            super().keepalive_timeout()
            self.transport.abort()

    return Protocol


def _authority(url: str) -> tuple[str | None, int | None]:
    """Host name and port of a URL; None if it is invalid."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
