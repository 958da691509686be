"""The OpenAPI description of requests and responses."""

from pydantic import BaseModel, ConfigDict

from speech_emotion.inference.predictor import Predictor


class Window(BaseModel):
    """A part of a recording. Like a row, it also has a probability for each emotion."""

    model_config = ConfigDict(extra="allow")
    start: float
    end: float
    emotion: str
    confidence: float


class Row(BaseModel):
    """A row of out.csv. It also has a probability for each emotion; in a row with an error, numbers are null."""

    model_config = ConfigDict(extra="allow")
    url: str
    channel: int | None = None  # from 1, with `channels` each
    emotion: str
    confidence: float | None
    error: str
    timeline: list[Window] | None = None


class Refusal(BaseModel):
    detail: str


REFUSALS = {
    401: "missing or wrong bearer token",
    403: "foreign Host or Origin",
    408: "the request took too long to arrive",
    413: "too much in one request",
    422: "not a form with recordings, or an unknown field or value",
    503: "too many requests at once; try again",
    507: "the disk is full",
}


def form_schema(predictors: dict[str, Predictor]) -> dict:
    """The schema of the form with recordings; `predictors` are the models on offer, the first is the default."""
    models = list(predictors)
    adapting = [name for name, predictor in predictors.items() if predictor.network.takes_statistics]
    flag = {"type": "boolean", "default": False}
    properties = {
        "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
        "model": {"type": "string", "enum": models, "default": models[0]},
        "channels": {
            "type": "string",
            "enum": ["mix", "each"],
            "default": "mix",
            "description": "each: classify every channel separately, such as two microphones",
        },
        "timeline": flag | {"description": "also return the rows of the stretches of speech"},
        "adapt": {
            "type": "boolean",
            "enum": [False, True] if adapting == models else [False],
            "description": "adapt to the recordings of this request, as one voice or room; "
            + (f"true with {', '.join(adapting)} only" if adapting else "no model here can adapt"),
        },
    }
    schema = {"type": "object", "required": ["files"], "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
