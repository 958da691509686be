"""The HTTP API: POST /predict for programs, and the requests of the page, with the same limits."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from importlib.resources import files

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from speech_emotion.inference.formats import tracks
from speech_emotion.inference.rows import cell, columns
from speech_emotion.serving.guard import Guard
from speech_emotion.serving.live import serve_live
from speech_emotion.serving.page import fill, fill_page, render, write_csv
from speech_emotion.serving.schema import REFUSALS, Refusal, Row, form_schema
from speech_emotion.serving.service import Service

STATIC = files("speech_emotion.serving") / "static"


def build_app(service: Service, allow_hosts: Iterable[str] = (), results: str = "") -> Guard:
    """The ASGI application; `results` is a text on how good the models are, to which the page links."""
    app = FastAPI(
        title="Speech emotion",
        description="Which emotion does a voice portray? Recordings are deleted once they are answered.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    bearer = HTTPBearer(auto_error=False)

    def check_token(credentials: HTTPAuthorizationCredentials | None = Depends(bearer)) -> None:  # noqa: B008
        given = credentials.credentials if credentials else ""
        if not service.knows(given.encode("latin-1")):
            raise HTTPException(401, "this server requires a bearer token", {"www-authenticate": "Bearer"})

    def check_browser(request: Request) -> None:
        """Browsers send no bearer token for a page, but they ask the user for a password."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        with suppress(ValueError):
            password = base64.b64decode(given).partition(b":")[2] if scheme.lower() == "basic" else b""
            if service.knows(password):
                return
        how = {"www-authenticate": 'Basic realm="speech emotion, any user, the token as password", charset="UTF-8"'}
        raise HTTPException(401, "this server requires its token as password", how)

    protected = [Depends(check_token)] if service.token else []
    for_browsers = [Depends(check_browser)] if service.token else []

    @app.exception_handler(ClientDisconnect)
    async def forget(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # the client has left

    @app.post(
        "/predict",
        dependencies=protected,
        response_model=list[Row],
        response_model_exclude_none=False,
        responses={status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()},
        openapi_extra={"requestBody": form_schema(service.predictors)},
    )
    async def predict(request: Request) -> JSONResponse:
        """A row for each recording, in order; with `channels` each, a row for every channel."""
        options, _, answers = await service.answer(request)
        return JSONResponse([row for answer in answers for row in answer.in_json(options.timeline)])

    @app.post("/answers", dependencies=protected, include_in_schema=False)
    async def answers(request: Request) -> JSONResponse:
        """For the page: HTML, lines of out.csv, and tracks of recordings with more than one window."""
        options, predictor, found = await service.answer(request, draw=render)
        names = columns(predictor.labels, options.channels)
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
        """Also the numbers of requests being sent, waiting or being answered, and of live recordings."""
        counts = {"requests": service.n_requests, "live": service.n_live}
        return {"status": "ok", "models": list(service.predictors), **counts}

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await serve_live(socket, service)

    page = fill_page(service.predictors, service.limits, service.token)
    docs = fill("docs.html", title=app.title)
    app.get("/", include_in_schema=False, response_class=HTMLResponse)(lambda: page)
    app.get("/docs", include_in_schema=False, dependencies=for_browsers, response_class=HTMLResponse)(lambda: docs)
    app.get("/openapi.json", include_in_schema=False, dependencies=for_browsers)(app.openapi)
    app.get("/results", include_in_schema=False, response_class=PlainTextResponse)(lambda: results)
    app.mount("/static/docs", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/static", StaticFiles(directory=str(STATIC)))
    return Guard(app, allow_hosts, service.limits)
