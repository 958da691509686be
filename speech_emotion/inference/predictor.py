"""Recordings → emotions with probabilities, through the path that training took."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, islice
from pathlib import Path

import numpy as np
import torch

from speech_emotion.audio.reading import PIECE_S, AudioError, printable
from speech_emotion.audio.resampling import stream_audio, to_mono
from speech_emotion.audio.windows import RecordingWindows, Window
from speech_emotion.inference.rows import Row, error_row, recording_row, window_row
from speech_emotion.inference.speech import SpeechDetector
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.devices import choose_device

_READ_AT_ONCE = 16  # windows of one recording, so that a long one is not held whole

Statistics = Callable[[str], torch.Tensor]  # a path → mean and deviation, (2, D)
Answer = tuple[Row, list[Row]]  # the row of a recording, and those of its windows that count

_log = logging.getLogger(__name__)


@dataclass
class _Recording:
    """One recording on its way through the readers and the network."""

    path: str
    windows: RecordingWindows
    seen: list[tuple[Window, list[float] | torch.Tensor]] = field(default_factory=list)  # with what was found there
    error: str = ""

    def __post_init__(self):
        self.unread = iter(self.windows)

    def heard(self) -> list[tuple[Window, list[float] | torch.Tensor]]:
        """Of all that were seen, those that count. Raises AudioError where there are none."""
        if self.error:
            raise AudioError(self.error)
        loud = compress(self.seen, self.windows.counts([window for window, _ in self.seen]))
        if not (spoken := [(window, result) for window, result in loud if window.speaks]):
            raise AudioError("nobody speaks")
        return spoken


@dataclass(frozen=True)
class _Item:
    """What a batch is made of: a window of a recording, or none where the recording ends without one."""

    recording: _Recording
    window: Window | None = None
    inputs: torch.Tensor | None = None  # one of the network's
    is_last: bool = False


class Predictor:
    """A checkpoint ready to classify.

    >>> for row in Predictor("model.pt").predict(["hello.wav"]):
    ...     print(row["emotion"], row["confidence"])
    """

    def __init__(self, model: str | Path | Checkpoint, device: str = "auto", speech_only: bool = False):
        """With `speech_only`, windows in which nobody speaks do not count.

        Raises CheckpointError for an unreadable model, ValueError for a device that is not here, and with
        `speech_only` NoDetectorError where Silero VAD is not installed.
        """
        self.device = choose_device(device)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.labels, self.digest = checkpoint.labels, checkpoint.digest
        self.features = checkpoint.features
        self.temperature = checkpoint.temperature
        self.front_end = checkpoint.network.front_end
        self.network = checkpoint.network.for_inference().to(self.device)
        self._detector = SpeechDetector() if speech_only else None

    def predict(self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None) -> Iterator[Row]:
        """One row per path, in order, with the columns of out.csv: url, emotion, confidence, each label, error.

        A file that cannot be classified has its `error`, an empty emotion and None for the numbers. A recording
        longer than the window gets the mean over its windows in which somebody is heard. `workers` threads (as many
        as torch uses, unless given) read and classify; `paths` may be a generator without end, read a little ahead.
        """
        return (row for row, _ in self.predict_windows(paths, batch_size, workers))

    def predict_windows(
        self,
        paths: Iterable[str | Path],
        batch_size: int = 16,
        workers: int | None = None,
        statistics: Statistics | None = None,
    ) -> Iterator[Answer]:
        """As predict, with the rows of the windows that count, as in the timeline.

        `statistics` takes a path and gives what its windows are compared with. Raises ValueError for a network that
        takes none.
        """
        if statistics and not self.network.takes_statistics:
            raise ValueError("this model takes no statistics of recordings")
        return map(self._rows, self._schedule(paths, batch_size, workers, partial(self._classify, statistics)))

    def embeddings(
        self, paths: Iterable[str | Path], batch_size: int = 16, workers: int | None = None
    ) -> Iterator[tuple[str, torch.Tensor | AudioError]]:
        """Each path with the embeddings of the windows that count, (windows, D), or with what is wrong with it."""
        for recording in self._schedule(paths, batch_size, workers, self._embed):
            try:
                yield recording.path, torch.stack([embedding for _, embedding in recording.heard()]).cpu()
            except AudioError as error:
                yield recording.path, error

    def predict_waveform(self, samples: np.ndarray, sample_rate: int) -> Row:
        """The row of a recording in memory: (samples,) or (samples, channels), float, full scale at 1."""
        try:
            waveform = to_mono(samples, sample_rate, self.features.sample_rate)
        except AudioError as error:
            return error_row("", self.labels, str(error))
        pieces = waveform.split(round(PIECE_S * self.features.sample_rate))
        recording = _Recording("", RecordingWindows(pieces, self.features))
        for _ in self._in_turns(recording):
            pass
        return self._rows(recording)[0]

    def predict_in_turns(self, path: str | Path, statistics: Statistics | None = None) -> Generator[None, None, Answer]:
        """The row and the windows of one recording, in this thread, with a pause after every some windows.

        Who has several recordings to answer may go on with another one there, or close this one.
        """
        recording = self._open(path)
        yield from self._in_turns(recording, statistics)
        return self._rows(recording)

    def _open(self, path: str | Path) -> _Recording:
        pieces = stream_audio(path, self.features.sample_rate)
        return _Recording(str(path), RecordingWindows(pieces, self.features))

    def _in_turns(self, recording: _Recording, statistics: Statistics | None = None) -> Iterator[None]:
        while items := self._read(recording):
            recording.seen += zip([item.window for item in items], self._classify(statistics, items), strict=True)
            yield

    @torch.inference_mode()
    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the front end made, (B, ...) → (B, classes)."""
        return self._probabilities(self.network.embed(inputs.to(self.device)))

    def _probabilities(self, embedding: torch.Tensor, statistics: torch.Tensor | None = None) -> torch.Tensor:
        """(B, D), and (B, 2, D) for networks that take them → (B, classes)."""
        return (self.network.classify(embedding, statistics) / self.temperature).softmax(dim=1).cpu()

    def _schedule(
        self, paths: Iterable[str | Path], batch_size: int, workers: int | None, work: Callable[[list[_Item]], list]
    ) -> Iterator[_Recording]:
        """Each recording, in order, when `work` has done all its windows; it does those of a batch at once."""
        workers = workers or torch.get_num_threads()
        # One torch thread in each: recordings and batches run side by side, and more would only wait for each other.
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        running: deque[tuple[list[_Item], Future]] = deque()
        items = self._read_ahead(paths, pool, ahead=2 * (batch_size + workers))
        try:
            while batch := list(islice(items, batch_size)):
                running.append((batch, pool.submit(work, batch)))
                while running and (len(running) > workers or running[0][1].done()):
                    yield from self._finished(*running.popleft())
            while running:
                yield from self._finished(*running.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_ahead(self, paths: Iterable[str | Path], pool: ThreadPoolExecutor, ahead: int) -> Iterator[_Item]:
        """The windows of all recordings in order, while the pool reads `ahead` recordings further on."""
        paths = iter(paths)
        waiting: deque[tuple[_Recording, Future]] = deque()
        while True:
            for path in islice(paths, ahead - len(waiting)):
                recording = self._open(path)
                waiting.append((recording, pool.submit(self._read, recording)))
            if not waiting:
                return
            recording, future = waiting.popleft()
            while len(items := future.result()) == _READ_AT_ONCE:
                future = pool.submit(self._read, recording)
                yield from items
            *others, last = items or [_Item(recording)]
            yield from others
            yield replace(last, is_last=True)

    @torch.inference_mode()
    def _read(self, recording: _Recording) -> list[_Item]:
        """The next windows of a recording; fewer than `_READ_AT_ONCE` are its last."""
        try:
            return [
                _Item(recording, self._listen(window, samples), self.front_end(samples[None])[0])
                for window, samples in islice(recording.unread, _READ_AT_ONCE)
            ]
        except Exception as error:  # whatever a file does to a library costs its own row only
            is_ours = isinstance(error, AudioError)
            recording.error = str(error) if is_ours else f"cannot read: {type(error).__name__}: {printable(error)}"
            _log.debug("%s", printable(recording.path), exc_info=True)
        return []

    def _listen(self, window: Window, samples: torch.Tensor) -> Window:
        if self._detector is None:
            return window
        return replace(window, speaks=self._detector(samples[None], self.features.sample_rate)[0])

    @torch.inference_mode()
    def _embed(self, items: list[_Item]) -> list[torch.Tensor]:
        """The embedding of each item that has a window: (D,)."""
        inputs = [item.inputs for item in items if item.window]
        return list(self.network.embed(torch.stack(inputs).to(self.device))) if inputs else []

    @torch.inference_mode()
    def _classify(self, statistics: Statistics | None, items: list[_Item]) -> list[list[float]]:
        """The probabilities of each item that has a window."""
        if not (embeddings := self._embed(items)):
            return []
        given = [statistics(item.recording.path) for item in items if item.window] if statistics else None
        return self._probabilities(torch.stack(embeddings), given and torch.stack(given).to(self.device)).tolist()

    def _finished(self, items: list[_Item], done: Future) -> Iterator[_Recording]:
        """The recordings that end in this batch."""
        results = iter(done.result())
        for item in items:
            if item.window:
                item.recording.seen.append((item.window, next(results)))
            if item.is_last:
                yield item.recording

    def _rows(self, recording: _Recording) -> Answer:
        url, labels = recording.path, self.labels
        try:
            timeline = [
                window_row(url, labels, probabilities, recording.windows.span(window))
                for window, probabilities in recording.heard()
            ]
        except AudioError as error:
            return error_row(url, labels, str(error)), []
        return recording_row(url, labels, timeline), timeline
