"""Live recordings over a WebSocket: sound comes in, rows go out as JSON."""

import asyncio
from contextlib import suppress

from fastapi import HTTPException, WebSocket
from pydantic import Field
from starlette.websockets import WebSocketDisconnect

from speech_emotion.inference.live import STEP_S, LiveRecording
from speech_emotion.inference.table import rounded
from speech_emotion.serving.answers import Reply, in_timeline
from speech_emotion.serving.guard import Limits
from speech_emotion.serving.service import Emotions, Service, Strict, parse

_CLOSED = 4000  # plus the HTTP status of a refusal: the code that the socket is closed with


class Beginning(Strict):
    """The first message of a client."""

    sample_rate: int = Field(ge=Limits.live_rates[0], le=Limits.live_rates[1])
    model: str | None = None
    emotions: Emotions = Field([])
    adapt: bool = False
    token: str = ""


class Command(Strict):
    """A message between pieces of sound."""

    adapt: bool | None = None
    forget: bool = False  # adapt only to what follows
    end: bool = False


async def serve_live(socket: WebSocket, service: Service) -> None:
    """Serve one recording until it ends or its client leaves; one that breaks a rule gets a sentence and is closed."""
    await socket.accept()
    patience = service.limits.silence_s
    with suppress(WebSocketDisconnect, TimeoutError, asyncio.TimeoutError):  # it has left, or does not read
        try:
            begin = await _receive(socket, patience)
            if isinstance(begin, bytes):
                raise HTTPException(422, 'begin with JSON as text, such as {"sample_rate": 16000}')
            first = parse(Beginning, begin)
            if not service.knows(first.token.encode()):
                raise HTTPException(401, "this server requires its token, as `token` of the first message")
            predictor = service.predictor(first.model, first.adapt, first.emotions)
            with service.place("live recordings", service.limits.live):
                longest_s = 60 * service.limits.recording_minutes
                live = LiveRecording(predictor, first.sample_rate, longest_s=longest_s)
                await LiveSession(socket, service, live, first).run()
            await asyncio.wait_for(socket.close(), patience)
        except HTTPException as refusal:
            await asyncio.wait_for(socket.send_json({"detail": refusal.detail}), patience)
            await asyncio.wait_for(socket.close(_CLOSED + refusal.status_code), patience)


class LiveSession:
    """A recording: new sound is received while earlier sound is classified.

    Each message has all rows of the last minute, and waits until the one before it has been sent. So a slow client gets
    fewer of them, and none pile up.
    """

    def __init__(self, socket: WebSocket, service: Service, live: LiveRecording, first: Beginning):
        self._socket, self._service, self._live = socket, service, live
        self._model, self._adapt = first.model, first.adapt
        self._has_ended = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Raises HTTPException for a refusal, WebSocketDisconnect, and TimeoutError if the client does not read."""
        tasks = [asyncio.ensure_future(work) for work in (self._receive_sound(), self._send_rows())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive_sound(self) -> None:
        """Receive until the client leaves; messages after the end are ignored.

        A client that sends slower than real time is ended when the longest duration has passed, so that it does not
        occupy a place for longer than others.
        """
        limits, clock = self._service.limits, asyncio.get_running_loop().time
        deadline = clock() + 60 * limits.recording_minutes + limits.silence_s
        while True:
            content = await _receive(self._socket, None if self._has_ended else limits.silence_s)
            if self._has_ended:
                continue
            if isinstance(content, bytes):
                self._live.add(content)
                self._has_ended = self._live.is_full or clock() > deadline
            else:
                command = parse(Command, content)
                if command.adapt is not None:
                    self._service.predictor(self._model, command.adapt)  # which may refuse
                    self._adapt = command.adapt
                if command.forget:
                    self._live.forget_voice()
                self._has_ended = command.end or clock() > deadline
            self._changed.set()

    async def _send_rows(self) -> None:
        """Send provisional rows, and the final ones at the end."""
        while True:
            while not self._has_ended and self._live.seconds - self._live.heard_s < STEP_S:
                self._changed.clear()
                await self._changed.wait()
            if self._has_ended:
                break
            heard = await self._service.run(self._live.update(self._adapt))
            rows = in_timeline(map(rounded, heard.stretches))
            await self._send(provisional=True, heard=heard.seconds, adapted=heard.is_adapted, timeline=rows)
        answer = await self._service.run(self._live.finish(self._adapt))
        (row,) = Reply.from_answer(answer).in_json(timeline=True)
        await self._send(provisional=False, heard=self._live.seconds, **row)

    async def _send(self, **message) -> None:
        await asyncio.wait_for(self._socket.send_json(rounded(message)), self._service.limits.silence_s)


async def _receive(socket: WebSocket, patience: float | None) -> bytes | str:
    """The next message. Raises HTTPException if none comes in time, WebSocketDisconnect if the client has left."""
    try:
        message = await asyncio.wait_for(socket.receive(), patience)
    except (TimeoutError, asyncio.TimeoutError):
        raise HTTPException(408, f"nothing was received for {patience} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message["bytes"] if message.get("text") is None else message["text"]
