"""The HTTP API: POST /predict for programs, and the requests of the page, with the same limits."""

from collections.abc import Iterable, Sequence
from functools import partial
from importlib.resources import files

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import LEAST_CONFIDENCE, LEAST_LEAD
from speech_emotion.models.published import PUBLISHED
from speech_emotion.serving.guard import MEGABYTE, Guard
from speech_emotion.serving.live import serve_live
from speech_emotion.serving.service import Options, Service
from speech_emotion.serving.teaching import Corrections, teach_model

STATIC = files("speech_emotion.serving") / "static"
REFUSALS = {
    400: "a damaged form, too many parts, or a foreign Host",
    401: "missing or wrong bearer token",
    403: "foreign Origin",
    413: "too much in one request",
    422: "no recordings, or an unknown field or value",
    503: "too many requests at once; try again",
    507: "the disk is full",
}


class StretchInJson(BaseModel):
    """A part of a recording. Like a row, it also has a probability for each emotion."""

    model_config = ConfigDict(extra="allow")
    start: float
    end: float
    emotion: str
    confidence: float


class RowInJson(BaseModel):
    """A row of out.csv. It also has a probability for each emotion; in a row with an error, numbers are null."""

    model_config = ConfigDict(extra="allow")
    url: str
    channel: int | None = None  # from 1, with `channels` each
    emotion: str
    confidence: float | None
    error: str
    timeline: list[StretchInJson] | None = None


class Refusal(BaseModel):
    detail: str


def build_app(service: Service, allow_hosts: Iterable[str] = (), allow_origins: Sequence[str] = ()) -> Guard:
    """The ASGI application; pages of `allow_origins` may read its answers."""
    app = FastAPI(
        title="Speech emotion",
        description="Which emotion does a voice portray? Recordings are deleted once they are answered. The WebSocket "
        "/live, which OpenAPI cannot describe, answers while somebody speaks: see docs/serve.md.",
        version="1",
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=service.limits.request_mb * MEGABYTE)
    if allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allow_origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=("authorization",),
            allow_private_network=True,  # browsers ask before a public page calls a server on the user's own machine
            expose_headers=("retry-after",),
        )
    bearer = HTTPBearer(auto_error=False)

    def check_token(credentials: HTTPAuthorizationCredentials | None = Depends(bearer)) -> None:  # noqa: B008
        given = credentials.credentials if credentials else ""
        if not service.knows(given.encode("latin-1")):
            raise HTTPException(401, "this server requires a bearer token", {"www-authenticate": "Bearer"})

    protected = [Depends(check_token)] if service.token else []

    @app.exception_handler(ClientDisconnect)
    async def forget(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # the client has left

    @app.post(
        "/predict",
        dependencies=protected,
        response_model=list[RowInJson],
        responses={status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()},
        openapi_extra={"requestBody": form_schema(service.predictors)},
    )
    async def predict(request: Request) -> Response:
        """A row for each recording, in order; with `channels` each, a row for every channel."""
        options, replies = await service.carry_out(request, Options, service.predict)
        return JSONResponse([row for reply in replies for row in reply.in_json(options.timeline)])

    @app.post("/answers", dependencies=protected, include_in_schema=False)
    async def answers(request: Request) -> Response:
        """For the page: rows with timelines, waveforms, and the texts of files."""
        _, replies = await service.carry_out(request, Options, service.predict)
        return JSONResponse([reply.for_page() for reply in replies])

    @app.get("/progress", dependencies=protected, include_in_schema=False)
    async def progress(name: str) -> float | None:
        """How much of the request with `progress=name` in its address is done; nothing before it has arrived."""
        return service.shares.get(name)

    @app.post("/teach", dependencies=protected, include_in_schema=False)
    async def teach(request: Request) -> JSONResponse:
        """For the page and for programs, as docs/serve.md says; only so many at a time, because each needs memory."""
        with service.place("models being taught", service.limits.taught):
            _, taught = await service.carry_out(request, Corrections, partial(teach_model, service))
        return JSONResponse(taught)

    @app.get("/teach/{name}", dependencies=protected, include_in_schema=False)
    async def taught(name: str) -> Response:
        if name not in service.taught:
            raise HTTPException(404, "this model was taught too long ago; teach it again")
        disposition = {"content-disposition": 'attachment; filename="taught.pt"'}
        return Response(service.taught[name].content, headers=disposition)

    @app.delete("/teach/{name}", dependencies=protected, include_in_schema=False, status_code=204)
    async def forget_taught(name: str) -> None:
        service.taught.pop(name, None)

    @app.get("/settings", include_in_schema=False)
    async def settings() -> dict:
        """What the page has to know."""
        titles = {model.file: model.title for model in PUBLISHED}
        models = [
            {
                "name": name,
                "title": titles.get(name, name),
                "labels": predictor.labels,
                "answered": service.predictor(name, adapt=False).labels,
                "adapts": predictor.network.takes_statistics,
            }
            for name, predictor in service.predictors.items()
        ]
        limits = {"megabytes": service.limits.recording_mb, "minutes": service.limits.recording_minutes}
        uncertain = {"least_confidence": LEAST_CONFIDENCE, "least_lead": LEAST_LEAD}
        return {"models": models, "needs_token": service.token is not None, **limits, **uncertain}

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str | int | list[str]]:
        """Also the numbers of requests being sent, waiting or being answered, and of live recordings."""
        taken = {"requests": service.taken["requests"], "live": service.taken["live recordings"]}
        return {"status": "ok", "models": list(service.predictors), **taken}

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await serve_live(socket, service)

    page, docs = (HTMLResponse((STATIC / name).read_text(encoding="utf-8")) for name in ("page.html", "docs.html"))
    app.add_route("/", lambda request: page)  # unlike `get` of FastAPI, it answers HEAD, too
    app.add_route("/docs", lambda request: docs)
    app.mount("/static/docs", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/static", StaticFiles(directory=str(STATIC)))
    return Guard(app, allow_hosts, allow_origins, service.limits)


def form_schema(predictors: dict[str, Predictor]) -> dict:
    """The schema of the form with recordings; `predictors` are the models on offer, the first is the default."""
    models = list(predictors)
    adapting = [name for name, predictor in predictors.items() if predictor.network.takes_statistics]
    schema = Options.model_json_schema()
    fields = schema["properties"]
    shared = [label for label in predictors[models[0]].labels if all(label in p.labels for p in predictors.values())]
    if len(shared) > 1:
        fields["emotions"] |= {"items": {"type": "string", "enum": shared}, "minItems": 2, "uniqueItems": True}
    fields["model"] = {"type": "string", "enum": models, "default": models[0]}
    if adapting != models:
        fields["adapt"]["enum"] = [False]
        fields["adapt"]["description"] += f"; true with {', '.join(adapting) or 'no model here'} only"
    fields["files"] = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema | {"required": ["files"]}}}}
