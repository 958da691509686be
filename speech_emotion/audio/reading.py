"""Any file → its samples in pieces of bounded size, on its container's clock; its channels, mixed or separate."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speech_emotion.audio.decoders import (
    BLOCK,
    RAW_FORMATS,
    Block,
    RecordingInfo,
    Unreadable,
    cut_and_ignored,
    in_pieces,
    reason,
    what_is_missing,
    what_it_is,
)
from speech_emotion.audio.files import fetched, is_url
from speech_emotion.audio.isolation import DecoderLost, isolated
from speech_emotion.terminal import printable

PIECE_S = 30.0
SAMPLE_RATES = (4_000, 384_000)  # Hz; a header with another rate is damaged
MOST_CHANNELS = 64  # that are classified separately, as many as a cable between studios (MADI) carries
_START = 4096  # bytes that identify the format
_READ_AHEAD = 2**14  # bytes; twice libFLAC's buffer
_FFMPEG_ONLY = b"ID3", b"OggS", b"Creative Voice File", b"\xf0\x7e", b"riff", b".snd"  # the first bytes
_LOUDEST = 1e9  # of full scale; the square of a larger value overflows float32
_MOSTLY = 0.5  # of the samples that are possible, for the others to be silence
_PIECE = 2**24  # values per piece, all channels together: 30 s of eleven channels at 48 kHz
_CANCELS = 10**-1.0  # of the channels' energy: if their mean has less, they have opposite signs and cancel
_ALONE = 10**-1.5  # a channel is alone where all others are 15 dB fainter; crosstalk is fainter still
_ALONE_S = 0.5  # total time alone that two channels each need for the recording to hold different sounds
_FRAME_S = 0.05
_HEARD = 10**-3.5  # 35 dB below the loudest frame so far
_SILENT = 1e-8  # variance of a channel, -80 dBFS
_RELATED = 0.3  # least correlation of two channels that hold the same sound

_log = logging.getLogger(__name__)


class AudioError(ValueError):
    """A recording cannot be read or has nothing to classify; the message says why, without the file name."""


class ImpossibleSamples(AudioError):
    """Some samples are NaN, infinite or impossibly large."""


def read_pieces(
    path: str | Path | BinaryIO,
    *,
    track: int | None = None,
    channels: str = "mix",
    info: RecordingInfo | None = None,
    only: Sequence[int] | None = None,
) -> Iterator[Block]:
    """Decode a file, given by its name or open, to pieces of at most `PIECE_S`: float32 samples and their rate in Hz.

    With `channels` "mix", a piece is (samples,), the mean of the channels, or the loudest one where they cancel. With
    "each" it is (samples, channels), with the number of channels at the start; if that changes, all channels get the
    mix. `only` are the channels to mix, from 0, all by default. `track` counts audio tracks from 1; None is FFmpeg's
    choice. Late starts and gaps in the time stamps are filled with zeros, as are NaN, infinite and impossibly large
    samples. The rate may change from piece to piece. From a damaged file, everything that can be decoded is returned;
    `info` is filled in along the way. Raises AudioError if nothing can be decoded, if there is no such track, if it is
    not a regular file (pipes are not waited for), for a sample rate outside `SAMPLE_RATES`, and for more than
    `MOST_CHANNELS` separate channels.
    """
    if track is not None and track < 1:
        raise ValueError(f"tracks are counted from 1, not {track}")
    info = RecordingInfo() if info is None else info
    difference, n_channels = Difference(), 0
    try:
        with _opened(path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AudioError("it is a pipe or a device, not a file")
            ending = os.path.splitext(str(getattr(path, "name", path)))[1].lower()
            for samples, rate in in_pieces(_decode(file, ending, track, info), PIECE_S, _PIECE):
                n_channels = n_channels or samples.shape[1]
                if channels == "each" and n_channels > MOST_CHANNELS:
                    raise AudioError(f"it has {n_channels} channels; at most {MOST_CHANNELS} can be told apart")
                try:
                    check_samples(samples, rate)
                except ImpossibleSamples:
                    possible = np.abs(samples) < _LOUDEST
                    if possible.mean() <= _MOSTLY:
                        raise
                    samples, info.is_damaged = np.where(possible, samples, np.float32(0)), True
                info.n_channels = max(info.n_channels, samples.shape[1])
                difference.add(samples, rate)
                info.channels_differ, info.channels_unrelated = difference.differ, difference.unrelated
                has_changed = samples.shape[1] != n_channels
                if channels == "mix":
                    yield mix(samples if only is None or has_changed else samples[:, only]), rate
                else:
                    yield np.repeat(mix(samples)[:, None], n_channels, axis=1) if has_changed else samples, rate
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"cannot read: {printable(said).rstrip('.')}") from error


def check_samples(samples: np.ndarray, rate: int) -> None:
    """Raises AudioError for an impossible sample rate, ImpossibleSamples for such samples."""
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise AudioError(f"its sample rate is {rate} Hz, not {lowest} to {highest} Hz")
    if len(samples) and not -_LOUDEST < samples.min() <= samples.max() < _LOUDEST:  # also false for NaN; makes no copy
        raise ImpossibleSamples("it holds NaN, infinite or impossibly large samples")


def mix(samples: np.ndarray) -> np.ndarray:
    """(samples,) or (samples, channels) → (samples,): the mean, or the loudest channel if the channels cancel."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(len(samples))
    mean = samples.mean(axis=1)
    energy = np.einsum("ij,ij->j", samples, samples)
    return samples[:, energy.argmax()] if mean @ mean < _CANCELS * energy.mean() else mean


class Difference:
    """How the channels of a recording differ, as far as is known after the pieces added so far.

    `differ`: they hold different sounds, as the two ends of a phone call do. This requires two or more channels that
    are each alone (15 dB above all others) for half a second in total. A voice in one channel only, a voice between
    two, and what a codec changes in two equal channels do not count.
    `unrelated`: two channels that are not silent are not correlated, such as a voice and a time code.
    """

    def __init__(self) -> None:
        self._loudest = 0.0
        self._alone: Counter[int] = Counter()  # frames of each channel
        self._n_samples, self._sums, self._products = 0, 0.0, 0.0  # (channels,), (channels, channels)

    def add(self, samples: np.ndarray, rate: int) -> None:
        """Adds (samples, channels) at `rate` Hz."""
        frame = max(1, int(_FRAME_S * rate))
        n, channels = len(samples) // frame, samples.shape[1]
        if channels == 1:
            return
        if np.shape(self._sums) in ((), (channels,)):  # or their number has changed
            self._n_samples += len(samples)
            self._sums = self._sums + samples.sum(axis=0, dtype=np.float64)
            self._products = self._products + samples.T @ samples
        if n:
            frames = samples[: n * frame].reshape(n, frame, channels)
            energy = np.einsum("ijk,ijk->ik", frames, frames)
            second, first = np.sort(energy, axis=1)[:, -2:].T
            self._loudest = max(self._loudest, float(first.max()) / frame)
            alone = (first > _HEARD * self._loudest * frame) & (second < _ALONE * first)
            self._alone.update(energy.argmax(axis=1)[alone].tolist())

    @property
    def differ(self) -> bool:
        return sum(_FRAME_S * frames >= _ALONE_S for frames in self._alone.values()) > 1

    @property
    def unrelated(self) -> bool:
        if not self._n_samples:
            return False
        mean = self._sums / self._n_samples
        covariance = self._products / self._n_samples - np.outer(mean, mean)
        variance = covariance.diagonal()
        sounds = np.flatnonzero(variance > _SILENT)
        deviation = np.sqrt(variance[sounds])
        return bool((np.abs(covariance[np.ix_(sounds, sounds)]) < _RELATED * np.outer(deviation, deviation)).any())


def _opened(path: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The file, from its start. One that is already open, such as an upload without a name, stays open."""
    if hasattr(path, "fileno"):
        os.lseek(path.fileno(), 0, os.SEEK_SET)
        return open(os.dup(path.fileno()), "rb", 0)
    if is_url(path):
        return fetched(path)
    no_waiting = getattr(os, "O_NONBLOCK", 0)  # a plain open would wait forever for the writer of a named pipe
    return open(path, "rb", 0, opener=lambda name, flags: os.open(name, flags | no_waiting))


def _decode(file: BinaryIO, ending: str, track: int | None, info: RecordingInfo) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate; if libsndfile fails, FFmpeg continues where it stopped.

    libsndfile comes first: for WAV and FLAC it takes two thirds of FFmpeg's time. Only FFmpeg reads further tracks,
    files without a header, and formats that libsndfile ends too early (MPEG), misreads (VOC) or prints messages about
    (damaged MPEG, MIDI sample dumps).
    """
    start = file.read(_START)
    if sentence := what_it_is(start):
        raise AudioError(sentence)
    info.is_damaged, info.n_ignored = cut_and_ignored(file, start)
    is_mpeg = start[:1] == b"\xff" and start[1:2] >= b"\xe0"
    readers = [("FFmpeg", isolated(file, info, track, ending if start[:4] != b"RIFF" else ""))]
    if not (is_mpeg or start.startswith(_FFMPEG_ONLY) or (track or 1) > 1 or ending in RAW_FORMATS):
        readers.insert(0, ("libsndfile", _libsndfile(file)))
    reasons: list[str] = []
    n_given = 0  # samples
    for name, blocks in readers:
        file.seek(0)
        n_read = 0
        try:
            for samples, rate in blocks:
                n_read += len(samples)
                if n_read > n_given:
                    samples, n_given = samples[n_given - n_read :], n_read
                    yield samples, rate
            if n_given:
                return
        except DecoderLost as error:
            raise AudioError(str(error)) from error
        except Exception as error:  # damaged files can raise any exception in the decoders and their bindings
            _log.debug("%s on %s", name, printable(file.name), exc_info=True)
            reasons.append(f"{name}: {reason(error)}")
    if not n_given:
        raise AudioError(what_is_missing(file, start) or "; ".join(reasons) or "it holds no samples")
    info.is_damaged = True


def _libsndfile(file: BinaryIO) -> Iterator[Block]:
    """Blocks (samples, channels) with their rate; damaged files can raise any exception."""
    import soundfile

    descriptor = file.fileno()  # the name might not be UTF-8
    with soundfile.SoundFile(descriptor, closefd=False) as sound:
        if sound.subtype.startswith("MPEG"):
            raise Unreadable("MP3 is left to FFmpeg")
        frames = max(1, BLOCK // sound.channels)
        while len(samples := sound.read(frames, dtype="float32", always_2d=True)):
            yield samples, sound.samplerate
        if sound.format == "FLAC":  # of which libFLAC stops at the end that the first header declares
            n_read = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, max(4, n_read - _READ_AHEAD), os.SEEK_SET)
            if n_read < os.fstat(descriptor).st_size or b"fLaC" in os.read(descriptor, _READ_AHEAD):
                raise Unreadable("it is longer than its header declares")
