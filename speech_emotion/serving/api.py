"""The answers over HTTP: POST /predict for programs, and what the page asks for, under the same limits."""

import asyncio
import base64
import os
import secrets
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import Answer, answer_all
from speech_emotion.serving.folder import request_folder
from speech_emotion.serving.guard import Guard
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.page import fill_page, render, write_csv
from speech_emotion.serving.schema import REFUSALS, Refusal, Row, form_schema
from speech_emotion.serving.turns import Turns
from speech_emotion.serving.uploads import Form
from speech_emotion.tables.formats import tracks
from speech_emotion.tables.rows import cell, columns

STATIC = files("speech_emotion.serving") / "static"
FIELDS = ("model", "adapt", "channels", "timeline")  # of a form, beside its files
_FLAGS = {"true": True, "false": False}


@dataclass
class Service:
    """What answers: models by name, threads, a folder, and how many requests there are now."""

    predictors: dict[str, Predictor]
    turns: Turns
    folder: Path
    limits: Limits
    token: str | None = None
    n_requests: int = 0

    @contextmanager
    def place(self):
        """A place in the line, from before the first byte of a form is stored. Raises 503 when there is none."""
        if self.n_requests >= self.limits.requests:
            raise HTTPException(503, "too many requests at once; try again in a moment", {"retry-after": "2"})
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_requests -= 1

    async def answer(self, request: Request, draw=None) -> tuple[Form, Predictor, list[Answer]]:
        """Of all recordings in a request. Raises HTTPException, or ClientDisconnect and then the work has ended."""
        with self.place(), request_folder(self.folder) as folder:
            form = Form(folder, self.limits)
            await form.receive(request)
            predictor = self._choose(form.fields)
            adapt, channels = flag(form.fields, "adapt"), channels_of(form.fields)
            work = self.turns.submit(answer_all(predictor, form.uploads, self.limits, draw, adapt, channels))
            answers = asyncio.wrap_future(work)
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait((answers, gone), return_when=asyncio.FIRST_COMPLETED)
                if not answers.done():
                    raise ClientDisconnect
                return form, predictor, answers.result()
            finally:
                answers.cancel()
                gone.cancel()

    def _choose(self, fields: dict[str, str]) -> Predictor:
        for name in fields:
            if name not in ("model", "adapt", "channels", "timeline"):
                raise HTTPException(
                    422, f"there is no field {name[:100]!r}; there are model, adapt, channels, timeline"
                )
        name = fields.get("model", next(iter(self.predictors)))
        if name not in self.predictors:
            raise HTTPException(422, f"there is no model {name[:100]!r}; there are {', '.join(self.predictors)}")
        if flag(fields, "adapt") and not self.predictors[name].network.takes_statistics:
            raise HTTPException(422, f"{name} does not adapt to recordings; leave out the field `adapt`")
        flag(fields, "timeline")
        channels_of(fields)
        return self.predictors[name]


def flag(fields: dict[str, str], name: str) -> bool:
    value = fields.get(name, "false").lower()
    if value not in _FLAGS:
        raise HTTPException(422, f"`{name}` is true or false, not {value[:100]!r}")
    return _FLAGS[value]


def channels_of(fields: dict[str, str]) -> str:
    value = fields.get("channels", "mix")
    if value not in ("mix", "each"):
        raise HTTPException(422, f"`channels` are mix or each, not {value[:100]!r}")
    return value


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def build_app(service: Service, allow_hosts: Iterable[str] = (), results: str = "") -> Guard:
    """`results` is a text that says how good the models are, to which the page links."""
    app = FastAPI(
        title="Speech emotion",
        description="Which emotion does a voice play? Recordings are deleted with their answer.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    bearer = HTTPBearer(auto_error=False)

    def check_token(credentials: HTTPAuthorizationCredentials | None = Depends(bearer)) -> None:  # noqa: B008
        given = credentials.credentials if credentials else ""
        if not _is(given.encode("latin-1"), service.token):
            raise HTTPException(401, "this server asks for its bearer token", {"www-authenticate": "Bearer"})

    def check_browser(request: Request) -> None:
        """A browser sends no bearer token for a page, but it asks its user for a password."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        with suppress(ValueError):
            password = base64.b64decode(given).partition(b":")[2] if scheme.lower() == "basic" else b""
            if _is(password, service.token):
                return
        how = {"www-authenticate": 'Basic realm="speech emotion, any user, the token as password", charset="UTF-8"'}
        raise HTTPException(401, "this server asks for its token, as a password", how)

    protected = [Depends(check_token)] if service.token else []
    for_browsers = [Depends(check_browser)] if service.token else []

    @app.exception_handler(ClientDisconnect)
    async def forget(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    @app.post(
        "/predict",
        dependencies=protected,
        response_model=list[Row],
        response_model_exclude_none=False,
        responses={status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()},
        openapi_extra={"requestBody": form_schema(service.predictors)},
    )
    async def predict(request: Request) -> JSONResponse:
        """A row for each recording, in their order, or with `channels` each for every channel of each."""
        form, _, answers = await service.answer(request)
        timeline = flag(form.fields, "timeline")
        return JSONResponse(
            [
                row | ({"timeline": _without_urls(answer.stretches_of(row))} if timeline else {})
                for answer in answers
                for row in answer.rows
            ]
        )

    @app.post("/answers", dependencies=protected, include_in_schema=False)
    async def answers(request: Request) -> JSONResponse:
        """For the page: HTML, lines of out.csv, and tracks where there is more than one window."""
        form, predictor, found = await service.answer(request, draw=render)
        names = columns(predictor.labels, channels_of(form.fields))
        rows = [
            {
                "html": answer.html,
                "csv": write_csv([cell(name, row[name]) for name in names] for row in answer.rows),
                "error": answer.error,
                "channels_differ": answer.channels_differ,
                "tracks": tracks(answer.stretches) if len(answer.stretches) > 1 else {},
            }
            for answer in found
        ]
        return JSONResponse({"header": write_csv([names]), "rows": rows})

    @app.get("/health")
    async def health() -> dict[str, str | int | list[str]]:
        """`requests` are those that are sent, wait or are answered now."""
        return {"status": "ok", "models": list(service.predictors), "requests": service.n_requests}

    page = fill_page(Template((STATIC / "page.html").read_text()), service.predictors, service.limits, service.token)
    docs = Template((STATIC / "docs.html").read_text()).substitute(title=escape(app.title))
    app.get("/", include_in_schema=False, response_class=HTMLResponse)(lambda: page)
    app.get("/docs", include_in_schema=False, dependencies=for_browsers, response_class=HTMLResponse)(lambda: docs)
    app.get("/openapi.json", include_in_schema=False, dependencies=for_browsers)(app.openapi)
    app.get("/results", include_in_schema=False, response_class=PlainTextResponse)(lambda: results)
    app.mount("/static/docs", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/static", StaticFiles(directory=str(STATIC)))
    return Guard(app, allow_hosts, service.limits)


def _is(given: bytes, token: str) -> bool:
    return secrets.compare_digest(given, os.fsencode(token))


def _without_urls(stretches: list[dict]) -> list[dict]:
    return [{key: value for key, value in stretch.items() if key not in ("url", "error")} for stretch in stretches]
