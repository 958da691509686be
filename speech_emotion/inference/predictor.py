"""Recordings → emotions with probabilities, computed by the same functions as in training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.audio.resampling import resample_pieces, to_mono
from speech_emotion.audio.windows import RecordingWindows, Window
from speech_emotion.inference.recording import Answer, Recording
from speech_emotion.inference.rows import Row, error_row
from speech_emotion.inference.speech import SpeechDetector
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.network import choose_device

_READ_AT_ONCE = 16  # windows per read, so that a long recording is never in memory as a whole

Statistics = Callable[[str, int], torch.Tensor]  # path, channel (from 0) → mean and standard deviation, (2, D)


@dataclass(frozen=True)
class _Item:
    """An item of a batch: a window of a recording, or a placeholder for a recording without windows."""

    recording: Recording
    window: Window | None = None
    inputs: torch.Tensor | None = None  # the network's input for the window


class Predictor:
    """A checkpoint, ready to classify.

    >>> for row in Predictor("model.pt").predict(["hello.wav"]):
    ...     print(row["emotion"], row["confidence"])
    """

    def __init__(self, model: str | Path | Checkpoint, device: str = "auto", speech_only: bool | None = False):
        """With `speech_only`, windows without speech are left out; None selects the model's default.

        Raises CheckpointError for an unreadable model, ValueError for a device that is not available, and with
        `speech_only` NoDetectorError if Silero VAD is not installed.
        """
        self.device = choose_device(device)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.labels, self.digest = checkpoint.labels, checkpoint.digest
        self.features = checkpoint.features
        self.temperature = checkpoint.temperature
        self.front_end = checkpoint.network.front_end
        self.network = checkpoint.network.for_inference().to(self.device)
        self.speech_only = self.network.speech_only if speech_only is None else speech_only
        self._detector = SpeechDetector() if self.speech_only else None

    def predict(self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None) -> Iterator[Row]:
        """One row per path, in order, with the columns of out.csv: url, emotion, confidence, each label, error.

        A file that cannot be classified has an `error`, an empty emotion and None for the numbers. A recording of
        several stretches of speech gets their mean, weighted by audible duration. `workers` threads (by default as many
        as torch uses) read and classify; `paths` may be an endless generator, which is read slightly ahead.
        """
        return (answer.rows[0] for answer in self.answers(paths, batch_size, workers))

    def answers(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 16,
        workers: int | None = None,
        statistics: Statistics | None = None,
        **reading,
    ) -> Iterator[Answer]:
        """Like predict, with the stretches of speech and information about the file.

        `statistics` maps a path and a channel to the mean and standard deviation for normalising its windows; `reading`
        are the options `channels` and `track` of read_pieces. Raises ValueError for a network that takes no
        statistics.
        """
        if statistics and not self.network.takes_statistics:
            raise ValueError("this model takes no statistics of recordings")
        work = partial(self._classify, statistics)
        recordings = self._schedule(paths, batch_size, workers, work, reading)
        return (recording.answer(self.labels) for recording in recordings)

    def embeddings(
        self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[tuple[str, dict[int, torch.Tensor]]]:
        """Each path with the embeddings of the stretches of each of its channels, (stretches, D); {} if none."""
        for recording in self.embedded(paths, batch_size, workers, **reading):
            yield recording.path, recording.embeddings()

    def embedded(
        self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[Recording]:
        """Each recording, in order, with the embeddings of its windows in `seen`."""
        return self._schedule(paths, batch_size, workers, self._embed, reading)

    def predict_waveform(self, samples: np.ndarray, sample_rate: int) -> Row:
        """The row of a recording in memory: (samples,) or (samples, channels), float, full scale at 1."""
        try:
            waveform = to_mono(samples, sample_rate, self.features.sample_rate)
        except AudioError as error:
            return error_row("", self.labels, str(error))
        recording = self.recording("", lambda: [(waveform.numpy(), self.features.sample_rate)])
        for _ in self.embed_in_turns(recording):
            pass
        return self.answer(recording).rows[0]

    def open(self, path: str | Path, channels: str = "mix", track: int | None = None) -> Recording:
        """A recording whose windows are read when they are needed; the options are those of read_pieces."""
        info = RecordingInfo()
        pieces = partial(read_pieces, path, track=track, channels=channels, info=info)
        return self.recording(str(path), pieces, info, channels == "each")

    def recording(self, name: str, pieces: Callable[[], Iterable[Block]], *details) -> Recording:
        """A recording of what `pieces()` yields, as read_pieces does; `details` are further fields of Recording."""
        windows = RecordingWindows(lambda: resample_pieces(pieces(), self.features.sample_rate), self.features)
        return Recording(name, windows, *details)

    def embed_in_turns(self, recording: Recording) -> Iterator[None]:
        """Read a recording in this thread and store the embeddings of its windows in `seen`.

        Yields after every few windows, and after every 30 s of sound read, so that the caller can switch to another
        recording or close this generator.
        """
        yield from recording.measure()
        while items := self._read(recording):
            recording.seen += zip([item.window for item in items], self._embed(items), strict=True)
            yield

    def embed_windows(self, windows: Iterable[tuple[Window, torch.Tensor]]) -> list[tuple[Window, torch.Tensor]]:
        """Windows with their samples → the same windows, with the amount of speech in each, and embeddings, (D,)."""
        nowhere = self.recording("", list)
        items = [self._item(nowhere, *window) for window in windows]
        return list(zip([item.window for item in items], self._embed(items), strict=True))

    def answer(self, recording: Recording, statistics: Statistics | None = None) -> Answer:
        """The answer for a recording with embeddings in `seen`, which are replaced by probabilities."""
        windows = [window for window, _ in recording.seen]
        places = [(recording.path, window.channel) for window in windows]
        embeddings = [embedding for _, embedding in recording.seen]
        recording.seen = list(zip(windows, self._judge(embeddings, places, statistics), strict=True))
        return recording.answer(self.labels)

    @torch.inference_mode()
    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """Network inputs from the front end, (B, ...) → probabilities (B, classes)."""
        return self._probabilities(self.network.embed(inputs.to(self.device)))

    def _probabilities(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D), and (B, 2, D) for networks that take statistics → (B, classes)."""
        return (self.network.classify(embedding, statistics) / self.temperature).softmax(dim=1).cpu()

    def _schedule(
        self,
        paths: Iterable[str | Path],
        batch_size: int,
        workers: int | None,
        work: Callable[[list[_Item]], list],
        reading: dict,
    ) -> Iterator[Recording]:
        """Each recording, in order, with the results of `work`, which is called on batches of windows."""
        workers = workers or torch.get_num_threads()
        # One torch thread per worker: recordings and batches run in parallel, so more threads would only compete.
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        try:
            items = self._read_ahead(paths, pool, 2 * (batch_size + workers), reading)
            results = _in_batches(items, batch_size, pool, workers, work)
            for recording, seen in groupby(results, key=lambda result: result[0].recording):
                recording.seen = [(item.window, result) for item, result in seen if item.window]
                yield recording
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_ahead(
        self, paths: Iterable[str | Path], pool: ThreadPoolExecutor, ahead: int, reading: dict
    ) -> Iterator[_Item]:
        """The windows of all recordings, in order, while the pool reads up to `ahead` recordings in advance."""
        paths = iter(paths)
        waiting: deque[tuple[Recording, Future]] = deque()
        while True:
            for path in islice(paths, ahead - len(waiting)):
                recording = self.open(path, **reading)
                waiting.append((recording, pool.submit(self._read, recording)))
            if not waiting:
                return
            recording, future = waiting.popleft()
            while len(items := future.result()) == _READ_AT_ONCE:
                future = pool.submit(self._read, recording)
                yield from items
            yield from items or [_Item(recording)]

    def _read(self, recording: Recording) -> list[_Item]:
        """The next windows of a recording; fewer than `_READ_AT_ONCE` at its end."""
        return recording.read(_READ_AT_ONCE, partial(self._item, recording))

    @torch.inference_mode()
    def _item(self, recording: Recording, window: Window, samples: torch.Tensor) -> _Item:
        return _Item(recording, self._listen(window, samples), self.front_end(samples[None])[0])

    def _listen(self, window: Window, samples: torch.Tensor) -> Window:
        if self._detector is None:
            return window
        return replace(window, speech=self._detector(samples[None], self.features.sample_rate)[0])

    @torch.inference_mode()
    def _embed(self, items: list[_Item]) -> list[torch.Tensor]:
        """The embedding of each window: (D,)."""
        return list(self.network.embed(torch.stack([item.inputs for item in items]).to(self.device)))

    def _classify(self, statistics: Statistics | None, items: list[_Item]) -> list[list[float]]:
        """The probabilities of each window."""
        places = [(item.recording.path, item.window.channel) for item in items]
        return self._judge(self._embed(items), places, statistics)

    @torch.inference_mode()
    def _judge(
        self, embeddings: list[torch.Tensor], places: list[tuple[str, int]], statistics: Statistics | None
    ) -> list[list[float]]:
        """The probabilities for each embedding, (D,); `places` are the paths and channels they belong to."""
        if not embeddings:
            return []
        given = [statistics(*place) for place in places] if statistics else None
        return self._probabilities(torch.stack(embeddings), given and torch.stack(given).to(self.device)).tolist()


def _in_batches(
    items: Iterator[_Item], batch_size: int, pool: ThreadPoolExecutor, workers: int, work: Callable[[list[_Item]], list]
) -> Iterator[tuple[_Item, list[float] | torch.Tensor | None]]:
    """Each item, in order, with the result of `work`; the pool has one batch more than it has threads."""
    running: deque[Future] = deque()
    while batch := list(islice(items, batch_size)):
        running.append(pool.submit(_with_results, batch, work))
        while running and (len(running) > workers or running[0].done()):
            yield from running.popleft().result()
    for future in running:
        yield from future.result()


def _with_results(batch: list[_Item], work: Callable[[list[_Item]], list]) -> list[tuple]:
    windows = [item for item in batch if item.window]
    results = iter(work(windows) if windows else [])
    return [(item, next(results) if item.window else None) for item in batch]
