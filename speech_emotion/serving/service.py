"""What all requests share: the models, threads, folder and limits, and the numbers of requests."""

import asyncio
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import Answer, answer_all
from speech_emotion.serving.folder import request_folder
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.turns import Turns
from speech_emotion.serving.uploads import Form

_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """The fields of a form, besides its files."""

    model: str | None = None
    channels: str = "mix"
    adapt: bool = False
    timeline: bool = False

    @classmethod
    def of(cls, fields: dict[str, str]) -> "Options":
        """Raises 422 for an unknown field or value."""
        for name in fields:
            if name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise HTTPException(422, f"there is no field {name[:100]!r}; the fields are {known}")
        options = cls(**fields | {name: _flag(name, fields[name]) for name in ("adapt", "timeline") if name in fields})
        if options.channels not in ("mix", "each"):
            raise HTTPException(422, f"`channels` must be mix or each, not {options.channels[:100]!r}")
        return options


@dataclass
class Service:
    """The models by name, threads, folder, limits, and current numbers of requests and live recordings."""

    predictors: dict[str, Predictor]
    turns: Turns
    folder: Path
    limits: Limits
    token: str | None = None
    n_requests: int = 0
    n_live: int = 0

    @contextmanager
    def place(self):
        """A place in the queue, taken before any byte of a form is stored. Raises 503 if there is none."""
        if self.n_requests >= self.limits.requests:
            raise HTTPException(503, "too many requests at once; try again in a moment", {"retry-after": "2"})
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_requests -= 1

    @contextmanager
    def live_place(self):
        """A place among the live recordings. Raises 503 if there is none."""
        if self.n_live >= self.limits.live:
            raise HTTPException(503, "too many live recordings at once; try again in a moment")
        self.n_live += 1
        try:
            yield
        finally:
            self.n_live -= 1

    async def answer(self, request: Request, draw=None) -> tuple[Options, Predictor, list[Answer]]:
        """The answers for a request. Raises HTTPException, or ClientDisconnect, which cancels the work."""
        with self.place(), request_folder(self.folder) as folder:
            form = Form(folder, self.limits)
            await form.receive(request)
            options = Options.of(form.fields)
            predictor = self.predictor(options.model, options.adapt)
            work = answer_all(predictor, form.uploads, self.limits, draw, options.adapt, options.channels)
            answers = asyncio.wrap_future(self.turns.submit(work))
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait((answers, gone), return_when=asyncio.FIRST_COMPLETED)
                if not answers.done():
                    raise ClientDisconnect
                return options, predictor, answers.result()
            finally:
                answers.cancel()
                gone.cancel()

    def predictor(self, name: str | None, adapt: bool) -> Predictor:
        """The model of that name, by default the first. Raises 422 if it does not exist or cannot adapt but should."""
        name = next(iter(self.predictors)) if name is None else name
        if name not in self.predictors:
            raise HTTPException(422, f"there is no model {name[:100]!r}; the models are {', '.join(self.predictors)}")
        if adapt and not self.predictors[name].network.takes_statistics:
            raise HTTPException(422, f"{name} cannot adapt to recordings; leave out `adapt`")
        return self.predictors[name]

    def knows(self, token: bytes) -> bool:
        """Whether the token is correct; always true if the server has none."""
        return self.token is None or secrets.compare_digest(token, os.fsencode(self.token))


def _flag(name: str, value: str) -> bool:
    if value.lower() not in _FLAGS:
        raise HTTPException(422, f"`{name}` must be true or false, not {value[:100]!r}")
    return _FLAGS[value.lower()]


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
