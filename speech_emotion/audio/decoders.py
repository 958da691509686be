"""FFmpeg: an open file → blocks of samples on its container's clock; and what the headers of a file say."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

import numpy as np

BLOCK = 2**18  # values per block, all channels together
RAW_FORMATS = {  # endings of files without a header: FFmpeg's name of the format, and the sample rate in Hz
    ".al": ("alaw", 8_000),
    ".alaw": ("alaw", 8_000),
    ".g722": ("g722", 16_000),
    ".gsm": ("gsm", 8_000),
    ".sln": ("sln", 8_000),
    ".sln16": ("sln", 16_000),
    ".ul": ("mulaw", 8_000),
    ".ulaw": ("mulaw", 8_000),
}

# FFmpeg's names of the containers that store time stamps. For the others, it computes them from sizes and rates.
_CLOCKED = {
    "asf", "flac", "flv", "gxf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "mxf", "nut", "ogg",
    "rm", "wtv",
}  # fmt: skip
_BETWEEN = 4096  # bytes at most between the packets of a Matroska file with one track
_ENDED = "asf", "flv", "tta", "voc", "w64"  # where FFmpeg stops at the end that is declared
_INDEX = 1.1  # of the bytes before it is the largest index that may follow the sound
_TAGS = b"ID3", b"TAG", b"APETAGEX"  # between MPEG files that were joined
_MISSING_S = 0.5  # less than this is not missed at the end: codecs shorten it
_GAPLESS = "flac", "ogg"  # containers that count samples, so that a gap means loss
_PROTECTED = "aavd", "drms", "enca"  # codec tags of encrypted tracks in MP4
_TOLERANCE_S = 0.05  # of time stamps, most of which are rounded to milliseconds
_START_S = 0.1  # a start that is this late or less counts as 0; WMA's first frame is 86 ms late
_RESTART_S = 1.0  # more than the overlap of packets, less than the length of a file that was joined
_JUMP_S = 10.0  # longer gaps are jumps of the clock where a format allows these; FFmpeg's dts_delta_threshold
_LONGEST_GAP_S = 3600
_MOST_SILENCE = 2**32  # values in all gaps, all channels together: 12 hours of stereo at 48 kHz
_NOT_RECORDINGS = [  # first bytes, and what to say
    (rb"(?:\xef\xbb\xbf)?\s*<(?i:!doctype html|html)", "it is a web page, not the recording that it links to"),
    (rb"PK\x03\x04", "it is a ZIP archive: unpack it first"),
    (rb"Rar!|7z\xbc\xaf\x27\x1c|\x1f\x8b", "it is an archive: unpack it first"),
    (rb"version https://git-lfs", "it is a Git LFS pointer: `git lfs pull` downloads the recording"),
    (rb"\x02?#!SILK", "it is in SILK (a voice message of WeChat or QQ): convert it, for instance with silk-v3-decoder"),
    (rb"\x03(?:ds2|enc)", "it is in DS2 (a dictation): save it as WAV with the program of the recorder"),
]
_UNKNOWN = 0x7FFF_0000  # from here on, a size is the placeholder of a file that was written to a pipe
_TAG = 1024  # bytes; anything shorter after the end is a tag or padding
_MOST_BOXES = 1000

Block = tuple[np.ndarray, int]


class Unreadable(ValueError):
    """A decoder cannot read the file; the message is one sentence."""


@dataclass
class RecordingInfo:
    """What is known about a recording besides its samples; complete once it has been read to the end."""

    n_tracks: int = 1  # audio tracks in the container
    n_channels: int = 1  # of the track that was read; the maximum if it changes
    channels_differ: bool = False  # see reading.Difference
    channels_unrelated: bool = False
    is_damaged: bool = False  # only part of it could be decoded
    n_ignored: int = 0  # bytes after the end that its header declares


def ffmpeg(file: BinaryIO, info: RecordingInfo, track: int | None = None, ending: str = "") -> Iterator[Block]:
    """Blocks (samples, channels) with their rate, silence in the gaps; raises any exception if nothing can be decoded.

    `track` counts from 1; None is FFmpeg's choice. `ending` is that of the file's name, which alone says the format of
    a file without a header.
    """
    import av

    # A playlist under an audio name must not make FFmpeg open other files, or the network.
    options = {"protocol_whitelist": "none"}
    name, rate = RAW_FORMATS.get(ending, (None, 0))
    if name in ("alaw", "mulaw", "sln"):
        options["sample_rate"] = str(rate)
    with av.open(file, format=name, metadata_errors="ignore", container_options=options) as container:
        stream = _choose(container, track)
        info.n_tracks = len(container.streams.audio)
        clock = _Clock(container, info)
        try:
            for frame in _frames(container, stream, info):
                yield from clock.silence_before(frame)
                yield _to_float(frame), frame.sample_rate
        except Exception:  # damaged files can raise any exception in FFmpeg's bindings
            if clock.now == 0:
                raise
            info.is_damaged = True
        info.is_damaged |= clock.now < _declared_s(container, stream) - _MISSING_S


def _declared_s(container, stream) -> float:
    """The duration that a file declares, in seconds; 0 where FFmpeg estimates it from the size of the file."""
    name, has_one = container.format.name, len(container.streams) == 1
    seconds = float((stream.duration or 0) * stream.time_base)
    if name == "mp3":
        is_estimate = seconds * (stream.bit_rate or 0) / 8 < 1.01 * container.size
        return 0 if is_estimate else seconds
    if name == "matroska,webm" and has_one:
        return (container.duration or 0) / 1e6
    return seconds if name == "flac" else 0


def _frames(container, stream, info: RecordingInfo) -> Iterator:
    """Every av.AudioFrame that can be decoded; a damaged packet does not end the recording.

    A bad packet counts as damage only if good ones follow; whatever follows the last good one is not sound.
    """
    import av

    is_alone = len(container.streams) == 1
    failure = None
    reached = 0  # the end of the last packet, in bytes
    has_sound = has_failed = False
    for packet in container.demux(stream):
        if is_alone and packet.pos is not None:
            if container.format.name == "matroska,webm":  # FFmpeg skips damaged data, up to the next cluster
                has_failed |= packet.pos > (reached or packet.pos) + _BETWEEN
            reached = packet.pos + packet.size
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failure = error
            has_failed |= not bytes(packet).startswith(_TAGS)
            continue
        if frames:
            info.is_damaged |= has_failed
            has_sound, has_failed = True, packet.is_corrupt
        yield from frames
    if failure and not has_sound:
        raise failure
    if is_alone and container.format.name in _ENDED and container.size > _INDEX * reached + _BETWEEN:
        info.n_ignored = container.size - reached


def _choose(container, track: int | None):
    """The stream with that number; for None, the first that can be decoded, beginning with FFmpeg's choice."""
    tracks = container.streams.audio
    if not tracks:
        raise Unreadable("it has no sound track")
    if track and track > len(tracks):
        raise Unreadable(f"it has {len(tracks)} audio track{'s' * (len(tracks) > 1)}, and no track {track}")
    candidates = [tracks[track - 1]] if track else [container.streams.best("audio") or tracks[0], *tracks]
    with_codec = [stream for stream in candidates if stream.codec_context]  # PyAV crashes if it decodes without one
    if not with_codec:
        raise Unreadable("the codec of its sound track is unknown")
    with suppress(UnicodeDecodeError):  # of tags in other containers
        if with_codec[0].codec_context.codec_tag in _PROTECTED:
            raise Unreadable("it is protected (DRM), so that only the program it was bought with can play it")
    return with_codec[0]


def _to_float(frame) -> np.ndarray:
    """av.AudioFrame of any format → (samples, channels), full scale at 1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / 128 - 1
    if values.dtype.kind == "i":
        return values.astype(np.float32) * np.float32(2.0 ** (1 - 8 * values.itemsize))
    return values.astype(np.float32, copy=False)


class _Clock:
    """Places each frame by its time stamp, with silence where the container has no sound.

    Time stamps are compared with the total of samples so far, so that rounding errors do not accumulate; differences
    below `_TOLERANCE_S` (`_START_S` at the start) are ignored. The clock starts anew where time stamps go back by more
    than `_RESTART_S`, as in joined files (if by less, the overlap is kept), and as in FFmpeg, where they jump ahead by
    more than `_JUMP_S` in a format whose clock may be discontinuous. In others, gaps of more than `_LONGEST_GAP_S`, or
    of `_MOST_SILENCE` in total, are damage and not filled.
    """

    def __init__(self, container, info: RecordingInfo) -> None:
        from av.format import Flags

        self.now = 0.0  # seconds returned so far
        self._info = info
        self._has_clock = container.format.name in _CLOCKED
        self._is_gapless = container.format.name in _GAPLESS
        self._longest_gap_s = _JUMP_S if container.format.flags & Flags.ts_discont.value else _LONGEST_GAP_S
        self._origin = (container.start_time or 0) / 1e6  # what players show as 0
        self._left = _MOST_SILENCE

    def silence_before(self, frame) -> Iterator[Block]:
        """Blocks of zeros up to a frame, whose duration is then added to the clock."""
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        is_start = self.now == 0  # which AVI has too, though no other time stamps
        ahead = frame.time - self._origin - self.now if frame.pts is not None and (self._has_clock or is_start) else 0
        n = round(ahead * rate)
        jumps = ahead > (_LONGEST_GAP_S if is_start else self._longest_gap_s) or n * channels > self._left
        if (is_start and ahead < _START_S) or ahead < -_RESTART_S or jumps:
            self._origin += ahead
            self._info.is_damaged |= jumps and (self._is_gapless or self._longest_gap_s != _JUMP_S)
        elif ahead > _TOLERANCE_S:
            self._info.is_damaged |= self._is_gapless and not is_start
            self._left -= n * channels
            self.now += n / rate
            block = np.zeros((BLOCK // channels, channels), np.float32)
            for begin in range(0, n, len(block)):
                yield block[: n - begin], rate
        self.now += frame.samples / rate


def in_pieces(blocks: Iterable[Block], seconds: float, values: int) -> Iterator[Block]:
    """The samples in pieces of `seconds`, or of `values` values if that is less.

    A piece is shorter at the end, and where the rate or the number of channels changes.
    """
    for (rate, channels), alike in groupby(blocks, key=lambda block: (block[1], block[0].shape[1])):
        length = max(1, min(int(seconds * rate), values // channels))
        waiting: list[np.ndarray] = []
        n_waiting = 0
        for samples, _ in alike:
            waiting.append(samples)
            n_waiting += len(samples)
            if n_waiting >= length:
                joined = np.concatenate(waiting)
                whole = n_waiting - n_waiting % length
                for begin in range(0, whole, length):
                    yield joined[begin : begin + length], rate
                waiting, n_waiting = [joined[whole:]], n_waiting - whole
        if n_waiting:
            yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0], rate


def reason(error: Exception) -> str:
    """A decoder's exception as a reason that is useful to the owner of the file."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "it would need too much memory"
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or ""
    # Generic messages, and messages about the Python binding, do not help the user.
    return "it is damaged" if not text or text.startswith(("File does not exist", "Error number")) else text.rstrip(".")


def what_it_is(start: bytes) -> str:
    """A sentence about a file that begins with `start` and is not a recording; "" if it may be one."""
    if not start:
        return "it is empty"
    return next((sentence for pattern, sentence in _NOT_RECORDINGS if re.match(pattern, start)), "")


def what_is_missing(file: BinaryIO, start: bytes) -> str:
    """A sentence about a file in which decoders find no sound; "" if there is nothing to say."""
    if not any(start):
        return "it begins with zeros only: it was not copied or downloaded completely"
    if start[4:8] == b"ftyp" and b"moov" not in _boxes(file)[0]:
        return "its recording was never finished or copied completely (moov atom not found)"
    return ""


def cut_and_ignored(file: BinaryIO, start: bytes) -> tuple[bool, int]:
    """Whether a file ends before its header says, and the number of bytes after that end, where decoders stop.

    (False, 0) for formats in which decoders themselves notice that.
    """
    size = end = os.fstat(file.fileno()).st_size
    if start[:4] in (b"RIFF", b"FORM"):
        end = 8 + int.from_bytes(start[4:8], "little" if start[:1] == b"R" else "big")
    elif start[4:8] == b"ftyp":
        end = _boxes(file)[1]
    elif start[:4] == b"OggS":
        file.seek(max(0, size - 2**16))
        page = file.read(2**16)
        page = page[max(0, page.rfind(b"OggS")) :]
        n_segments = page[26] if len(page) > 26 else 0
        end = max(size, size - len(page) + 27 + n_segments + sum(page[27 : 27 + n_segments]))
    if end < 100 or end >= _UNKNOWN or start[8:12] == b"AVI ":
        return size < end < _UNKNOWN, 0
    return size < end, size - end if end < size - _TAG else 0


def _boxes(file: BinaryIO) -> tuple[set[bytes], int]:
    """The names of the boxes of an MP4 file, and where the last one ends by its size."""
    size = os.fstat(file.fileno()).st_size
    names, position = set(), 0
    for _ in range(_MOST_BOXES):
        file.seek(position)
        header = file.read(16)
        name, length = header[4:8], int.from_bytes(header[:4], "big")
        if (name == b"ftyp" and names) or not name.isalnum():  # a file that was joined to this one, or the end
            return names, position
        names.add(name)
        if length == 0:  # the rest of the file
            break
        position += max(8, int.from_bytes(header[8:], "big") if length == 1 else length)
    return names, size
