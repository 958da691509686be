"""eval.py --live: classify sound from a microphone, or from a file played in real time, while it arrives."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from speech_emotion.audio.reading import read_pieces
from speech_emotion.audio.resampling import to_mono
from speech_emotion.inference.adaptation import check_adapts
from speech_emotion.inference.live import STEP_S, LiveRecording, at_once
from speech_emotion.inference.predictor import Predictor
from speech_emotion.tables.rows import Row, columns, error_sentence, stretch_columns
from speech_emotion.tables.table import Table
from speech_emotion.terminal import say

Sound = tuple[int, Iterator[bytes]]  # sample rate, and 16-bit samples as they come
_LONGEST_S = 3600  # of a recording, which is held in memory
_PIECE_S = 0.1
_BAR = 20  # characters for 100 %


def microphone() -> Sound:
    """Endless sound from the default microphone. Raises ImportError or OSError with the remedy."""
    try:
        import sounddevice
    except OSError as error:
        raise ImportError("--live needs PortAudio: apt install libportaudio2 (Linux)") from error
    try:
        rate = int(sounddevice.query_devices(kind="input")["default_samplerate"])
    except sounddevice.PortAudioError as error:
        raise OSError("there is no microphone; --live FILE plays a recording instead") from error

    def pieces() -> Iterator[bytes]:
        arrived: SimpleQueue[bytes] = SimpleQueue()
        options = {"samplerate": rate, "channels": 1, "dtype": "int16", "blocksize": round(_PIECE_S * rate)}
        with sounddevice.RawInputStream(**options, callback=lambda data, *_: arrived.put(bytes(data))):
            while True:
                yield b"".join([arrived.get(), *(arrived.get() for _ in range(arrived.qsize()))])

    return rate, pieces()


def played(path: str | Path, speed: float = 1.0) -> Sound:
    """A file, as if it were recorded now, or `speed` times as fast. Raises AudioError if it cannot be read."""
    source = read_pieces(path)
    first, rate = next(source)

    def pieces() -> Iterator[bytes]:
        began, given = time.monotonic(), 0
        for samples, its_rate in ((first, rate), *source):
            pcm = _pcm(to_mono(samples, its_rate, rate).numpy())
            while len(pcm):
                given += round(_PIECE_S * rate)
                time.sleep(max(0.0, began + given / rate / speed - time.monotonic()))
                yield pcm[: 2 * round(_PIECE_S * rate)]
                pcm = pcm[2 * round(_PIECE_S * rate) :]

    return rate, pieces()


def record(
    predictor: Predictor, name: str, sound: Sound, out: str, timeline: str | None = None, adapt: bool = False
) -> int:
    """Print a line for each stretch of speech as it ends, then write the final rows; returns the exit status.

    `out` and `timeline` must be writable tables. Raises ValueError for `adapt` with a network that takes no statistics.
    """
    if adapt:
        check_adapts(predictor)
    rate, pieces = sound
    live = LiveRecording(predictor, rate, name, _LONGEST_S)
    say("listening; press Ctrl-C to end the recording", is_error=True)
    shown_s = listen(live, pieces, lambda row: say(line(row)), adapt)
    answer = at_once(live.finish(adapt))
    for row in answer.stretches:
        if row["start"] >= shown_s:  # it ended with the recording
            say(line(row))
    with ExitStack() as stack:
        table = stack.enter_context(Table(out, columns(predictor.labels)))
        others = [stack.enter_context(Table(timeline, stretch_columns(predictor.labels), of=table))] if timeline else []
        for other in others:
            other.write(answer.stretches)
        table.write(answer.rows)
        table.finish(*others)
    (row,) = answer.rows
    said = error_sentence(row) if row["error"] else f"whole recording: {row['emotion']}, {row['confidence']:.0%}"
    say(f"{said}; the row is in {out}")
    return 1 if row["error"] else 0


def listen(live: LiveRecording, pieces: Iterable[bytes], show: Callable[[Row], None], adapt: bool = False) -> float:
    """Call `show` with the row of each stretch as it ends, until the sound ends, Ctrl-C, or the longest duration.

    Returns the end of the last stretch that was shown, in seconds.
    """
    shown_s = 0.0
    try:
        for pcm in pieces:
            live.add(pcm)
            if live.seconds - live.heard_s < STEP_S:
                continue
            for row in at_once(live.update(adapt)).stretches:
                if row["ended"] and row["end"] > shown_s:
                    shown_s = row["end"]
                    show(row)
            if live.is_full:
                break
    except KeyboardInterrupt as stop:
        if stop.args:  # SIGTERM
            raise
    return shown_s


def line(row: Row) -> str:
    """The start of a stretch, its emotion, and a bar for its probability."""
    minutes, seconds = divmod(round(row["start"], 1), 60)
    bar = "#" * round(_BAR * row["confidence"])
    return f"{minutes:2.0f}:{seconds:04.1f}  {row['emotion']:<10} {bar:<{_BAR}} {row['confidence']:4.0%}"


def _pcm(samples: np.ndarray) -> bytes:
    """Float samples, full scale at 1, as 16-bit little-endian."""
    return (samples * 2**15).round().clip(-(2**15), 2**15 - 1).astype("<i2").tobytes()
