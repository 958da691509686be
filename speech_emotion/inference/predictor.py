"""Recordings → emotions with probabilities, computed by the same functions as in training."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.reading import AudioError, RecordingInfo, check_samples, mix, read_pieces
from speech_emotion.audio.resampling import resample_pieces
from speech_emotion.audio.windows import RecordingWindows, Speech, Window
from speech_emotion.corpora.segments import Segment
from speech_emotion.inference.recording import Answer, Recording
from speech_emotion.inference.rows import Row, error_row
from speech_emotion.inference.speech import NoDetectorError, SpeechDetector, which_speak
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.emotions import choose_emotions
from speech_emotion.models.network import calibrated, choose_device

S, T = TypeVar("S"), TypeVar("T")
_READ_AT_ONCE = 16  # windows per read, so that a long recording is never in memory as a whole

Statistics = Callable[[str, int | str], torch.Tensor]  # path, Recording.voice → mean and standard deviation, (2, D)


@dataclass(frozen=True)
class _BatchItem:
    """A window of a recording, or a placeholder for a recording without windows."""

    recording: Recording
    window: Window | None = None
    inputs: torch.Tensor | None = None  # the network's input for the window


class Predictor:
    """A checkpoint, ready to classify.

    >>> for row in Predictor("model.pt").predict(["hello.wav"]):
    ...     print(row["emotion"], row["confidence"])
    """

    def __init__(
        self,
        model: str | Path | Checkpoint,
        device: str = "auto",
        speech_only: bool | None = False,
        emotions: Sequence[str] = (),
    ):
        """With `speech_only`, windows without speech are left out; None selects the model's default.

        `emotions` limits the answers, as for_emotions does. Raises CheckpointError for an unreadable model, ValueError
        for a device that is not available and for an unknown emotion, and with `speech_only` NoDetectorError if Silero
        VAD is not installed.
        """
        self.device = choose_device(device)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.labels, self.digest = checkpoint.labels, checkpoint.digest
        self._all_labels, self._counts_for = checkpoint.labels, torch.eye(len(checkpoint.labels))
        self.features = checkpoint.features
        self.temperature = checkpoint.temperature
        self.front_end = checkpoint.network.front_end
        self.network = checkpoint.network.for_inference().to(self.device)
        self.speech_only = self.network.speech_only if speech_only is None else speech_only
        self._detector = SpeechDetector() if self.speech_only else None
        if emotions:
            self.labels, self._counts_for = choose_emotions(self._all_labels, emotions)

    def for_emotions(self, emotions: Sequence[str]) -> "Predictor":
        """This predictor with answers limited to these emotions: their probabilities are divided by their sum.

        All emotions of the model if there are none. Raises ValueError as choose_emotions.
        """
        chosen = copy(self)
        chosen.labels, chosen._counts_for = choose_emotions(self._all_labels, emotions or self._all_labels)
        return chosen

    def predict(
        self, paths: str | Path | Iterable[str | Path], batch_size: int = 16, workers: int | None = None
    ) -> Iterator[Row]:
        """One row per path, in order, with the columns of out.csv: url, emotion, confidence, each label, error.

        A file that cannot be classified has an `error`, an empty emotion and None for the numbers. A recording of
        several stretches of speech gets their mean, weighted by audible duration. `workers` threads (by default as many
        as torch uses) read and classify; `paths` may be an endless generator, which is read slightly ahead.
        """
        return (answer.rows[0] for answer in self.answers(paths, batch_size, workers))

    def answers(
        self,
        paths: str | Path | Iterable[str | Path],
        batch_size: int = 16,
        workers: int | None = None,
        statistics: Statistics | None = None,
        **reading,
    ) -> Iterator[Answer]:
        """Like predict, with the stretches of speech and information about the file.

        `statistics` maps a path and a voice in it to the mean and standard deviation for normalising its windows;
        `reading` are the options `channels` and `track` of read_pieces, `segments` and `by_speaker` of Recording.
        Raises ValueError for a network that takes no statistics.
        """
        if statistics and not self.network.takes_statistics:
            raise ValueError("this model takes no statistics of recordings")
        classify = partial(self._classify, statistics)
        recordings = self._schedule(_several(paths), batch_size, workers, classify, reading)
        return (recording.answer(self.labels, classified) for recording, classified in recordings)

    def embeddings(
        self, paths: str | Path | Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[tuple[str, dict[int, torch.Tensor]]]:
        """Each path with the embeddings of the stretches of each voice in it, (stretches, D); {} if none."""
        for recording in self.embedded(paths, batch_size, workers, **reading):
            yield recording.path, recording.embeddings()

    def embedded(
        self, paths: str | Path | Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[Recording]:
        """Each recording, in order, with the embeddings of its windows."""
        recordings = self._schedule(_several(paths), batch_size, workers, lambda _, embeddings: embeddings, reading)
        for recording, embedded in recordings:
            recording.embedded = embedded
            yield recording

    def predict_waveform(self, samples: np.ndarray, sample_rate: int) -> Row:
        """The row of a recording in memory, (samples,) or (samples, channels).

        Full scale is 1 for floats, and the range of the type for uint8, int16 and int32. Raises ValueError for another
        shape or type.
        """
        try:
            check_samples(mono := mix(_full_scale(samples)), sample_rate)
        except AudioError as error:
            return error_row("", self.labels, str(error))
        recording = self.recording("", lambda: [(mono, sample_rate)])
        for _ in self.embed_in_turns(recording):
            pass
        return self.answer(recording).rows[0]

    def recording(
        self,
        name: str,
        read: Callable[..., Iterable[Block]],
        info: RecordingInfo | None = None,
        channels: str | None = None,
        segments: Sequence[Segment] = (),
        by_speaker: bool = False,
    ) -> Recording:
        """A recording whose windows are read when they are needed.

        `read` and its options `channels` and `only` are as in read_pieces; without `channels`, it is called without
        options. If channels with unrelated sounds are mixed, those in which nobody speaks are left out.
        """
        times = [(segment.start, segment.end) for segment in segments]
        windows = self._windows(partial(read, channels=channels) if channels else read, times)
        choose = partial(self._mix_of_voices, read, times) if channels == "mix" else None
        return Recording(
            name, windows, info or RecordingInfo(), channels == "each", segments, by_speaker, choose_channels=choose
        )

    def _windows(
        self, pieces: Callable[[], Iterable[Block]], times: Sequence[tuple[float, float]] = ()
    ) -> RecordingWindows:
        return RecordingWindows(lambda: resample_pieces(pieces(), self.features.sample_rate), self.features, times)

    def _mix_of_voices(
        self, read: Callable[..., Iterable[Block]], times: Sequence[tuple[float, float]], mixed: RecordingWindows
    ) -> RecordingWindows:
        """The windows of the mix of all channels in which somebody speaks, or `mixed`, if that is nobody or everybody.

        Without Silero VAD, or with too many channels, this cannot be known.
        """
        separate = self._windows(partial(read, channels="each"))
        heard: dict[int, list[Speech]] = {}
        try:
            detector = self._detector or SpeechDetector()
            for window, samples in separate:
                heard.setdefault(window.channel, []).append(detector(samples[None], self.features.sample_rate)[0])
                if sum(Speech.CLEAR in of_channel for of_channel in heard.values()) == separate.n_channels:
                    return mixed
        except (NoDetectorError, AudioError):
            return mixed
        voices = [channel for channel, of_channel in sorted(heard.items()) if any(which_speak(of_channel))]
        return self._windows(partial(read, only=voices), times) if voices else mixed

    def embed_in_turns(self, recording: Recording) -> Iterator[None]:
        """Read a recording in this thread and embed its windows.

        Yields after every few windows, and after every 30 s of sound read, so that the caller can switch to another
        recording or close this generator.
        """
        yield from recording.measure()
        while prepared := recording.read(_READ_AT_ONCE, self._prepare):
            recording.embedded += self._embed_prepared(prepared)
            yield

    def embed_windows(self, windows: Iterable[tuple[Window, torch.Tensor]]) -> list[tuple[Window, torch.Tensor]]:
        """Windows with their samples → the same windows, with the amount of speech in each, and embeddings, (D,)."""
        return self._embed_prepared([self._prepare(window, samples) for window, samples in windows])

    def answer(self, recording: Recording, statistics: Statistics | None = None) -> Answer:
        """The answer for an embedded recording."""
        windows, embeddings = zip(*recording.embedded, strict=True) if recording.embedded else ((), ())
        places = [(recording.path, recording.voice(window)) for window in windows]
        probabilities = self._classify(statistics, places, embeddings)
        return recording.answer(self.labels, list(zip(windows, probabilities, strict=True)))

    @torch.inference_mode()
    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """Network inputs from the front end, (B, ...) → probabilities (B, classes)."""
        return self._probabilities(self.network.classify(self.network.embed(inputs.to(self.device))))

    def _schedule(
        self,
        paths: Iterable[str | Path],
        batch_size: int,
        workers: int | None,
        work: Callable[[list[tuple[str, int | str]], list[torch.Tensor]], list[T]],
        reading: dict,
    ) -> Iterator[tuple[Recording, list[tuple[Window, T]]]]:
        """Each recording, in order, with its windows and the result of `work` for each.

        `work` gets the path and voice of each window in a batch, and their embeddings.
        """

        def results(batch: list[_BatchItem]) -> list[tuple[_BatchItem, T | None]]:
            items = [item for item in batch if item.window]
            places = [(item.recording.path, item.recording.voice(item.window)) for item in items]
            done = iter(work(places, self._embed([item.inputs for item in items])))
            return [(item, next(done) if item.window else None) for item in batch]

        workers = workers or torch.get_num_threads()
        # One torch thread per worker: recordings and batches run in parallel, so more threads would only compete.
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        try:
            items = self._read_ahead(paths, pool, 2 * (batch_size + workers), reading)
            batches = iter(lambda: list(islice(items, batch_size)), [])
            classified = chain.from_iterable(_in_order(pool, results, batches, workers))
            for recording, of_recording in groupby(classified, key=lambda result: result[0].recording):
                yield recording, [(item.window, result) for item, result in of_recording if item.window]
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_ahead(
        self, paths: Iterable[str | Path], pool: ThreadPoolExecutor, ahead: int, reading: dict
    ) -> Iterator[_BatchItem]:
        """The windows of all recordings, in order, while the pool reads up to `ahead` recordings in advance."""

        def read(recording: Recording) -> list[tuple[Window, torch.Tensor]]:
            return recording.read(_READ_AT_ONCE, self._prepare)

        def first(path: str | Path) -> tuple[Recording, list[tuple[Window, torch.Tensor]]]:
            info, options = RecordingInfo(), dict(reading)
            read_track = partial(read_pieces, path, info=info, track=options.pop("track", None))
            recording = self.recording(str(path), read_track, info, **{"channels": "mix"} | options)
            return recording, read(recording)

        for recording, prepared in _in_order(pool, first, paths, ahead):
            if not prepared:
                yield _BatchItem(recording)
            while prepared:
                yield from (_BatchItem(recording, *window) for window in prepared)
                prepared = pool.submit(read, recording).result() if len(prepared) == _READ_AT_ONCE else []

    @torch.inference_mode()
    def _prepare(self, window: Window, samples: torch.Tensor) -> tuple[Window, torch.Tensor]:
        """A window, with the amount of speech in it, and the network's input for its samples."""
        if self._detector is not None:
            window = replace(window, speech=self._detector(samples[None], self.features.sample_rate)[0])
        return window, self.front_end(samples[None])[0]

    def _embed_prepared(self, prepared: list[tuple[Window, torch.Tensor]]) -> list[tuple[Window, torch.Tensor]]:
        windows = [window for window, _ in prepared]
        return list(zip(windows, self._embed([inputs for _, inputs in prepared]), strict=True))

    @torch.inference_mode()
    def _embed(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """The embedding, (D,), for each network input."""
        return list(self.network.embed(torch.stack(inputs).to(self.device))) if inputs else []

    @torch.inference_mode()
    def _classify(
        self, statistics: Statistics | None, places: list[tuple[str, int | str]], embeddings: Sequence[torch.Tensor]
    ) -> list[list[float]]:
        """The probabilities for each embedding, (D,), of a window of a path and voice."""
        if not embeddings:
            return []
        given = torch.stack([statistics(*place) for place in places]).to(self.device) if statistics else None
        return self._probabilities(self.network.classify(torch.stack(embeddings), given)).tolist()

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, K) → of the emotions that may be answered, (B, chosen)."""
        chosen = calibrated(logits, self.temperature).cpu() @ self._counts_for
        return chosen / chosen.sum(dim=1, keepdim=True)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[S], T], items: Iterable[S], ahead: int) -> Iterator[T]:
    """As pool.map, but takes at most `ahead` items in advance, because there may be endlessly many."""
    running: deque[Future[T]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _several(paths: str | Path | Iterable[str | Path]) -> Iterable[str | Path]:
    """A single path as one of several. Raises TypeError for bytes."""
    if isinstance(paths, (bytes, bytearray)):
        raise TypeError("paths are names of files, not bytes; open the bytes with soundfile, then predict_waveform")
    return [paths] if isinstance(paths, (str, os.PathLike)) else paths


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """Samples of any type that sound is stored in → the same with full scale at 1. Raises ValueError for others."""
    if isinstance(samples, (bytes, bytearray)):
        raise ValueError("samples are numbers, not bytes; np.frombuffer(samples, np.int16) reads 16-bit samples")
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples must be (samples,) or (samples, channels), not {samples.shape}")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        raise ValueError(f"samples are (samples, channels), not {samples.shape}; transpose them")
    if samples.dtype == np.uint8:
        return samples / np.float32(2**7) - 1
    if samples.dtype in (np.int16, np.int32):
        return samples / np.float32(2 ** (8 * samples.itemsize - 1))
    if samples.dtype.kind != "f":
        raise ValueError(f"samples are float, uint8, int16 or int32, not {samples.dtype}")
    return samples
