"""Recordings → emotions with probabilities, computed by the same functions as in training."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from speech_emotion.audio.decoders import Block
from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.reading import AudioError, RecordingInfo, check_samples, mix, read_pieces
from speech_emotion.audio.resampling import resample_pieces
from speech_emotion.audio.windows import RecordingWindows, Speech, Window
from speech_emotion.corpora.segments import Segment
from speech_emotion.inference.formats import Row
from speech_emotion.inference.recording import Answer, Embedded, Recording
from speech_emotion.inference.speech import NoDetectorError, SpeechDetector, which_speak
from speech_emotion.inference.table import error_row
from speech_emotion.models.checkpoint import Checkpoint, load_checkpoint
from speech_emotion.models.network import calibrated, choose_device, choose_emotions

S, T = TypeVar("S"), TypeVar("T")
_READ_AT_ONCE = 16  # windows per read, so that a long recording is never in memory as a whole

Statistics = Callable[[str, int | str], torch.Tensor]  # path, Recording.voice → mean and standard deviation, (2, D)
Prepared = tuple[Window, torch.Tensor]  # with the network's input


class Predictor:
    """A checkpoint, ready to classify.

    >>> for row in Predictor("model.pt").predict(["hello.wav"]):
    ...     print(row["emotion"], row["confidence"])
    """

    def __init__(
        self,
        model: str | Path | Checkpoint,
        device: str = "auto",
        speech_only: bool | None = None,
        emotions: Sequence[str] = (),
    ):
        """With `speech_only`, windows without speech are left out; None selects the model's default, as eval.py does.

        `emotions` limits the answers, as for_emotions does. Raises CheckpointError for an unreadable model, ValueError
        for a device that is not available and for an unknown emotion, and with `speech_only` NoDetectorError if Silero
        VAD is not installed.
        """
        self.device = choose_device(device)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.digest, self.features, self._all_labels = checkpoint.digest, checkpoint.features, checkpoint.labels
        self.labels, self._counts_for = choose_emotions(self._all_labels, emotions)
        self.temperature = checkpoint.temperature
        self.front_end = checkpoint.network.front_end
        self.network = checkpoint.network.for_inference().to(self.device)
        self.speech_only = self.network.speech_only if speech_only is None else speech_only
        self._detector = SpeechDetector() if self.speech_only else None

    def for_emotions(self, emotions: Sequence[str]) -> "Predictor":
        """This predictor with answers limited to these emotions: their probabilities are divided by their sum.

        All emotions of the model if there are none. Raises ValueError as choose_emotions.
        """
        chosen = copy(self)
        chosen.labels, chosen._counts_for = choose_emotions(self._all_labels, emotions)
        return chosen

    def predict(
        self, paths: str | Path | Iterable[str | Path], batch_size: int = 16, workers: int | None = None
    ) -> Iterator[Row]:
        """One row per recording, in order, with the columns of out.csv: url, emotion, confidence, each label, error.

        `paths` are files and folders, or urls of recordings in buckets.

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
        `reading` are the options `channels` and `track` of read_pieces, `segments` and `by_speaker` of Recording, and
        `heard` of embedded. Raises ValueError for a network that takes no statistics, and TypeError when it comes to
        what is no path, such as bytes.
        """
        if statistics and not self.network.takes_statistics:
            raise ValueError("this model takes no statistics of recordings")
        recordings = self.embedded(paths, batch_size, workers, **reading)
        return (self.answer(recording, statistics) for recording in recordings)

    def embeddings(
        self, paths: str | Path | Iterable[str | Path], batch_size: int = 16, workers: int | None = None, **reading
    ) -> Iterator[tuple[str, dict[int, torch.Tensor]]]:
        """Each path with the embeddings of the stretches of each voice in it, (stretches, D); {} if none."""
        for recording in self.embedded(paths, batch_size, workers, **reading):
            yield recording.path, recording.embeddings()

    def embedded(
        self,
        paths: str | Path | Iterable[str | Path],
        batch_size: int = 16,
        workers: int | None = None,
        heard: Callable[[Recording, Window], None] = lambda recording, window: None,
        **reading,
    ) -> Iterator[Recording]:
        """Each recording, in order, with the embeddings of its windows; `heard` is called for each window, in order."""

        def embed(batch: list[tuple[Recording, Prepared | None]]) -> list[tuple[Recording, Embedded | None]]:
            embedded = iter(self._embed([prepared for _, prepared in batch if prepared]))
            return [(recording, next(embedded) if prepared else None) for recording, prepared in batch]

        workers = workers or torch.get_num_threads()
        # One torch thread per worker: recordings and batches run in parallel, so more threads would only compete.
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        try:
            windows = self._read_ahead(_recordings(paths), pool, 2 * (batch_size + workers), reading)
            batches = iter(lambda: list(islice(windows, batch_size)), [])
            results = chain.from_iterable(_in_order(pool, embed, batches, workers))
            for recording, of_recording in groupby(results, key=itemgetter(0)):
                for _, embedded in of_recording:
                    if embedded:
                        recording.embedded.append(embedded)
                        heard(recording, embedded[0])
                yield recording
        finally:
            pool.shutdown(cancel_futures=True)

    def predict_waveform(self, samples: np.ndarray | torch.Tensor, sample_rate: int) -> Row:
        """The row of a recording in memory, (samples,) or (samples, channels).

        Full scale is 1 for floats, and the range of the type for integers of 8 to 32 bits. Raises ValueError for
        another shape or type.
        """
        if isinstance(samples, (bytes, bytearray)):
            raise ValueError("samples are numbers, not bytes; np.frombuffer(samples, np.int16) reads 16-bit samples")
        samples = samples.detach().cpu().numpy() if isinstance(samples, torch.Tensor) else np.asarray(samples)
        if samples.ndim not in (1, 2):
            raise ValueError(f"samples must be (samples,) or (samples, channels), not {samples.shape}")
        if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
            raise ValueError(f"samples are (samples, channels), not {samples.shape}; transpose them")
        if samples.dtype.kind not in "fiu" or (samples.dtype.kind != "f" and samples.itemsize > 4):
            raise ValueError(f"samples are floats, or integers of 8 to 32 bits, not {samples.dtype}")
        if samples.dtype.kind != "f":
            half = np.float32(2 ** (8 * samples.itemsize - 1))
            samples = samples / half - (samples.dtype.kind == "u")
        try:
            check_samples(mono := mix(samples), sample_rate)
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
                heard.setdefault(window.channel, []).append(detector(samples, self.features.sample_rate))
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
            recording.embedded += self._embed(prepared)
            yield

    def embed_windows(self, windows: Iterable[tuple[Window, torch.Tensor]]) -> list[Embedded]:
        """Windows with their samples → the same windows, with the amount of speech in each, and embeddings, (D,)."""
        return self._embed([self._prepare(window, samples) for window, samples in windows])

    @torch.inference_mode()
    def answer(self, recording: Recording, statistics: Statistics | None = None) -> Answer:
        """The answer for an embedded recording."""
        if not recording.embedded:
            return recording.answer(self.labels, [])
        windows, embeddings = zip(*recording.embedded, strict=True)
        given = None
        if statistics:
            given = [statistics(recording.path, recording.voice(window)) for window in windows]
            given = torch.stack(given).to(self.device)
        logits = self.network.classify(torch.stack(embeddings), given)
        chosen = calibrated(logits, self.temperature).cpu() @ self._counts_for
        probabilities = (chosen / chosen.sum(dim=1, keepdim=True)).tolist()
        return recording.answer(self.labels, list(zip(windows, probabilities, strict=True)))

    def _read_ahead(
        self, paths: Iterable[str | Path], pool: ThreadPoolExecutor, ahead: int, reading: dict
    ) -> Iterator[tuple[Recording, Prepared | None]]:
        """The windows of all recordings, in order, while the pool reads up to `ahead` recordings in advance.

        A recording without windows is there once, with None.
        """

        def read(recording: Recording) -> list[Prepared]:
            return recording.read(_READ_AT_ONCE, self._prepare)

        def first(path: str | Path) -> tuple[Recording, list[Prepared]]:
            info, options = RecordingInfo(), {"channels": "mix"} | reading
            read_track = partial(read_pieces, path, info=info, track=options.pop("track", None))
            recording = self.recording(str(path), read_track, info, **options)
            return recording, read(recording)

        for recording, prepared in _in_order(pool, first, paths, ahead):
            yield from ((recording, window) for window in prepared or [None])
            while len(prepared) == _READ_AT_ONCE:
                prepared = pool.submit(read, recording).result()
                yield from ((recording, window) for window in prepared)

    @torch.inference_mode()
    def _prepare(self, window: Window, samples: torch.Tensor) -> Prepared:
        """A window, with the amount of speech in it, and the network's input for its samples."""
        if self._detector is not None:
            window = replace(window, speech=self._detector(samples, self.features.sample_rate))
        return window, self.front_end(samples[None])[0]

    @torch.inference_mode()
    def _embed(self, prepared: list[Prepared]) -> list[Embedded]:
        if not prepared:
            return []
        windows, inputs = zip(*prepared, strict=True)
        return list(zip(windows, self.network.embed(torch.stack(inputs).to(self.device)), strict=True))


def _in_order(pool: ThreadPoolExecutor, work: Callable[[S], T], items: Iterable[S], ahead: int) -> Iterator[T]:
    """As pool.map, but takes at most `ahead` items in advance, because there may be endlessly many."""
    running: deque[Future[T]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _recordings(paths: str | Path | Iterable[str | Path]) -> Iterator[str | Path]:
    """Each path, and of a folder the recordings in it. Raises TypeError for what is no path."""
    is_one = isinstance(paths, (str, bytes, bytearray, os.PathLike)) or hasattr(paths, "read")
    for path in [paths] if is_one else paths:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(
                f"a recording is given by its path, not as {type(path).__name__}; soundfile.read makes samples of an "
                "open file, which predict_waveform takes"
            )
        yield from find_recordings([path])[0] if os.path.isdir(path) else [path]
