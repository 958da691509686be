"""What programs send and get, as the description of the server says it."""

from pydantic import BaseModel, ConfigDict

from speech_emotion.inference.predictor import Predictor


class Window(BaseModel):
    """A part of a recording: as a row, a probability for each emotion beside these."""

    model_config = ConfigDict(extra="allow")
    start: float
    end: float
    emotion: str
    confidence: float


class Row(BaseModel):
    """A row of out.csv: a probability for each emotion beside these. One with an error has no numbers."""

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
    401: "no bearer token, or a wrong one",
    403: "foreign Host or Origin",
    408: "the request took too long to arrive",
    413: "too much in one request",
    422: "not a form with recordings, or a field that is not known",
    503: "too many requests at once; come back",
    507: "no room on the disk",
}


def form_schema(predictors: dict[str, Predictor]) -> dict:
    """Of the form with recordings; `predictors` are those on offer, the first by default."""
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
            "description": "each: classify every channel of a recording, such as those of two microphones",
        },
        "timeline": flag | {"description": "give the rows of the stretches of speech, too"},
        "adapt": {
            "type": "boolean",
            "enum": [False, True] if adapting == models else [False],
            "description": "take all recordings of the request as one voice or room; "
            + (f"true with {', '.join(adapting)} only" if adapting else "no model here adapts"),
        },
    }
    schema = {"type": "object", "required": ["files"], "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
