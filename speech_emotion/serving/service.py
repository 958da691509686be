"""What all requests share: the models, threads and limits, and the numbers of requests."""

import asyncio
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import torch
from fastapi import HTTPException, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser
from starlette.requests import ClientDisconnect

from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import Reply, answer_all
from speech_emotion.serving.guard import Limits

T, Fields = TypeVar("T"), TypeVar("Fields", bound="Strict")
Work = Generator[float | None, None, T]
# Recordings go to unnamed files at once: in memory, each of 64 requests could have 100 of a megabyte.
MultiPartParser.spool_max_size = 1


class Strict(BaseModel):
    """What a client says; unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


Emotions = Annotated[list[str], Field(max_length=100)]
Flag = Annotated[bool, BeforeValidator(lambda text: {"true": True, "false": False}.get(str(text).lower(), text))]


class Options(Strict):
    """The fields of a form, besides its files."""

    model: str | None = None
    channels: Literal["mix", "each"] = Field(
        "mix", description="each: classify every channel separately, such as two microphones"
    )
    emotions: Emotions = Field(
        [], description="at least two that can occur, repeated or separated by commas; only these are answered"
    )
    timeline: Flag = Field(False, description="also return the rows of the stretches of speech")
    adapt: Flag = Field(False, description="adapt to the recordings of this request, as one voice or room")


@dataclass(frozen=True)
class Taught:
    """A model that is kept for the page that asked for it."""

    predictor: Predictor
    content: bytes  # of its file


class Service:
    """The models by name, threads, limits, and how many clients are served."""

    def __init__(
        self,
        predictors: dict[str, Predictor],
        limits: Limits,
        token: str | None = None,
        emotions: Sequence[str] = (),
    ):
        """`emotions` are answered unless a client asks for others; by default all of the model."""
        self.predictors, self.limits, self.token, self.emotions = predictors, limits, token, emotions
        self.taken: Counter[str] = Counter()  # places, by what they are for
        self.shares: dict[str, float] = {}  # how much is done of the requests whose client gave them a name
        self.taught: dict[str, Taught] = {}  # models of open pages, the oldest first; their names are secret
        self.running: set[Future] = set()
        # A thread for each, so that none waits for another. They share the cores, so more threads would only compete.
        n = limits.requests + limits.live
        self.threads = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))

    @contextmanager
    def place(self, kind: str, most: int):
        """One of so many places, held while a client is served. Raises 503 if there is none."""
        if self.taken[kind] >= most:
            raise HTTPException(503, f"too many {kind} at once; try again in a moment", {"retry-after": "2"})
        self.taken[kind] += 1
        try:
            yield
        finally:
            self.taken[kind] -= 1

    async def carry_out(
        self, request: Request, kind: type[Fields], begin: Callable[[Fields, list[UploadFile]], Work[T]]
    ) -> tuple[Fields, T]:
        """The fields of a form, and what the work that `begin` returns for them and the recordings returns in the end.

        Raises HTTPException, or ClientDisconnect, which cancels the work.
        """
        limits, tasks, tag = self.limits, [], request.query_params.get("progress", "")
        most = {"max_files": limits.files, "max_fields": limits.fields, "max_part_size": limits.field_bytes}
        with self.place("requests", limits.requests):
            try:
                form = await request.form(**most)  # raises 400 if there is more, or if it is damaged
            except OSError as error:
                raise HTTPException(507, f"cannot store the recordings: {error.strerror}") from error
            try:
                uploads = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
                if not uploads:
                    raise HTTPException(422, "there is no recording in the form; send recordings as `files`")
                fields = {name: part for name, part in form.items() if isinstance(part, str)}
                if "emotions" in fields:
                    fields["emotions"] = form.getlist("emotions")
                given = parse(kind, fields)
                if tag:
                    self.shares[tag] = 0.0
                tasks = [
                    asyncio.ensure_future(self.run(begin(given, uploads), tag)),
                    asyncio.ensure_future(request.receive()),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not tasks[0].done():  # after the form, a client can only leave
                    raise ClientDisconnect
                return given, tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()
                self.shares.pop(tag, None)
                await form.close()

    def predict(self, options: Options, uploads: list[UploadFile]) -> Generator[float, None, list[Reply]]:
        """The replies, in order."""
        predictor = self.predictor(options.model, options.adapt, options.emotions)
        return answer_all(predictor, uploads, self.limits, options.adapt, options.channels)

    async def run(self, work: Work, name: str = "") -> T:
        """What `work` returns, computed in a thread. If this is cancelled, the work ends at its next yield.

        The share that it yields is kept in `shares` if `name` is there.
        """
        is_cancelled = threading.Event()

        def run_to_end() -> T | None:
            while not is_cancelled.is_set():
                try:
                    share = next(work)
                except StopIteration as end:
                    return end.value
                if name in self.shares:
                    self.shares[name] = share
            work.close()

        future = self.threads.submit(run_to_end)
        self.running.add(future)
        future.add_done_callback(self.running.discard)
        try:
            return await asyncio.wrap_future(future)
        finally:
            is_cancelled.set()

    def predictor(self, name: str | None, adapt: bool, emotions: Iterable[str] = ()) -> Predictor:
        """The model of that name, by default the first, limited to some emotions, by default the server's.

        Each of `emotions` may be several, separated by commas. Raises 422 if there is no such model or emotion, or if
        it cannot adapt but should.
        """
        name = next(iter(self.predictors)) if name is None else name
        if taught := self.taught.get(name):
            predictor = taught.predictor
        elif not (predictor := self.predictors.get(name)):
            raise HTTPException(422, f"there is no model {name[:100]!r}; the models are {', '.join(self.predictors)}")
        if adapt and not predictor.network.takes_statistics:
            raise HTTPException(422, f"{name} cannot adapt to recordings; leave out `adapt`")
        names = [part for text in emotions for part in ([text] if text in predictor.labels else text.split(","))]
        chosen = [part.strip() for part in names] or (self.emotions if name in self.predictors else ())
        try:
            return predictor.for_emotions(chosen) if chosen else predictor
        except ValueError as error:
            raise HTTPException(422, str(error)) from None

    def knows(self, token: bytes) -> bool:
        """Whether the token is correct; always true if the server has none."""
        return self.token is None or secrets.compare_digest(token, os.fsencode(self.token))


def parse(kind: type[BaseModel], content: dict | str) -> BaseModel:
    """What a client says, as a dict or JSON. Raises 422 with a sentence about the first thing that is wrong."""
    try:
        return kind.model_validate_json(content) if isinstance(content, str) else kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        raise HTTPException(422, f"{where}: {first['msg']}" if where else first["msg"]) from None
