"""POST /teach: a model is moved towards corrected recordings, and kept in memory until its page is closed."""

import copy
import io
import secrets
from collections.abc import Generator

import pandas as pd
from fastapi import HTTPException
from pydantic import Field
from starlette.datastructures import UploadFile

from speech_emotion.corpora.labels import AnnotationError, check_trainable, spelling
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.recording import NOBODY, with_speech
from speech_emotion.models.any_voice import AnyVoice
from speech_emotion.models.checkpoint import Checkpoint, check_labels, write_checkpoint
from speech_emotion.serving.answers import embed_all, recording_of
from speech_emotion.serving.service import Emotions, Service, Strict, Taught


class Corrections(Strict):
    """The fields of a form, besides its files."""

    model: str | None = None  # to start from
    emotions: Emotions = Field([])  # the correct one of each file, in order


def teach_model(service: Service, given: Corrections, uploads: list[UploadFile]) -> Generator[float, None, dict]:
    """Returns the new model's name, labels and report; yields the share of the recordings that is embedded.

    Raises HTTPException for what cannot teach.
    """
    from speech_emotion.training.own_labels import train_own  # takes a second, and is rarely needed

    predictor = service.predictor(given.model, adapt=False).for_emotions([])
    if not isinstance(predictor.network, AnyVoice):
        raise HTTPException(422, "this model cannot be taught; choose model_any_voice.pt, or one trained from it")
    if len(given.emotions) != len(uploads):
        raise HTTPException(422, f"{len(uploads)} recordings need as many emotions, not {len(given.emotions)}")
    names = [f"{number}: {upload.filename}" for number, upload in enumerate(uploads, 1)]
    emotions = list(map(spelling(predictor.labels), map(str.strip, given.emotions)))
    clips = pd.DataFrame({"clip": names, "path": names, "emotion": emotions})
    try:
        check_labels(set(emotions))
        check_trainable(clips)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    recordings = [recording_of(predictor, upload, service.limits) for upload in uploads]
    yield from embed_all(predictor, recordings)
    for upload, recording in zip(uploads, recordings, strict=True):
        upload.file.close()  # which deletes it
        recording.embedded = with_speech(recording.embedded)
        if not recording.embedded:
            recording.error = recording.error or NOBODY
    network = copy.deepcopy(predictor.network).cpu()
    network.encoder.half()  # as it is published
    try:
        model = train_own(clips, Checkpoint(network, predictor.labels, predictor.temperature), recordings=recordings)
    except AnnotationError as error:
        raise HTTPException(422, str(error)) from None
    write_checkpoint(file := io.BytesIO(), model.checkpoint)
    taught = Predictor(model.checkpoint, speech_only=True)
    taught.network.encoder = predictor.network.encoder  # which takes most of the memory
    name = f"taught-{secrets.token_urlsafe(9)}.pt"
    service.taught[name] = Taught(taught, file.getvalue())
    while len(service.taught) > service.limits.taught:
        service.taught.pop(next(iter(service.taught)), None)
    return {"model": name, "labels": taught.labels, "report": model.report}
