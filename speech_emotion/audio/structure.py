"""The length of a file by its headers, which may be wrong: the sound may continue after it, or end before it."""

import os
import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import BinaryIO

_WAVE = b"RIFF", b"RF64", b"BW64"
_MP4 = re.compile(rb"....(?:ftyp|moov|mdat|wide|free|skip)", re.DOTALL)
# fmt: off
_FIRST_BYTES = [re.compile(pattern, re.DOTALL) for pattern in (
    rb"(?:RIFF|RF64|BW64)....WAVE", rb"FORM....AIF[FC]", rb"OggS\x00\x02", rb"FLV\x01.\x00\x00\x00\x09",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", rb"caff\x00\x01\x00\x00desc",
    rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", rb"Creative Voice File\x1a", rb"#!AMR(?:-WB)?\n",
    rb"\.snd\x00\x00\x00.", rb"TTA1[\x01\x02]\x00",
)]
# fmt: on
_SCANNED = 2**20  # bytes per read
_UNKNOWN = 0x7FFF_0000  # from here on, a size is the placeholder of a file that was written to a pipe
_TAG = 1024  # bytes; anything shorter after the last chunk is not sound
START = 4096  # bytes that identify the format
_MOST = 1000  # headers examined per file
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def head(file: BinaryIO, size: int, position: int = 0) -> bytes:
    """Up to `size` bytes from `position`; the file is then rewound."""
    file.seek(position)
    content = file.read(size)
    file.seek(0)
    return content


def parts(file: BinaryIO, start: bytes) -> list[tuple[int, int, bool]]:
    """(begin, end, is a WAV with wrong sizes) of each joined file, in formats of which decoders read only the first.

    Empty for a file that decoders read to its end. For MPEG, FLAC and Matroska, FFmpeg continues with joined files
    by itself.
    """
    size, is_wave = _size(file), _is_wave(start)
    if is_wave and _is_filled(file, 0, size):
        return []
    if _MP4.match(start):
        begins = _mp4_files(file, size)[0]
    elif pattern := next((pattern for pattern in _FIRST_BYTES if pattern.match(start)), None):
        begins = list(islice(_find(file, size, pattern), _MOST))
    else:
        return []
    if len(begins) == 1 and not is_wave:
        return []
    return [(begin, end, is_wave and not _is_filled(file, begin, end)) for begin, end in pairwise([*begins, size])]


def _find(file: BinaryIO, size: int, pattern: re.Pattern) -> Iterator[int]:
    """Where files begin; for an Ogg file, whose tracks begin one after the other, only its first track."""
    previous_end = -1
    for position in range(0, size, _SCANNED):
        content = head(file, _SCANNED + 512, position)
        for match in pattern.finditer(content, 0, _SCANNED + 64):
            if match.start() < _SCANNED:
                if position + match.start() != previous_end:
                    yield position + match.start()
                if match[0][:4] == b"OggS":
                    previous_end = position + match.start() + _page_size(content[match.start() :])


def is_cut(file: BinaryIO, start: bytes) -> bool:
    """Whether a file is shorter than its headers declare, in formats that declare it."""
    size = _size(file)
    if _is_wave(start):
        return size < _wave_end(file, 0, size) < _UNKNOWN
    if start[:4] in (b"RIFF", b"FORM"):
        declared = int.from_bytes(start[4:8], "little" if start[:1] == b"R" else "big")
        return size < 8 + declared < _UNKNOWN
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return size < _matroska_end(start)
    if _MP4.match(start):
        return size < _mp4_files(file, size)[1]
    if start[:4] == b"OggS":
        return _ends_within_a_page(head(file, 2**16, max(0, size - 2**16)))
    if (found := start.find(_ASF_PROPERTIES)) >= 0:
        return size < int.from_bytes(start[found + 40 : found + 48], "little")
    return size < _mp3_end(file, start)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _is_wave(start: bytes) -> bool:
    return start[:4] in _WAVE and start[8:12] == b"WAVE"


def _is_filled(file: BinaryIO, begin: int, end: int) -> bool:
    return end - _wave_end(file, begin, end) < _TAG


def _wave_end(file: BinaryIO, begin: int, end: int) -> int:
    """Where the chunks of a WAV end according to their sizes; stops before the first invalid chunk."""
    is_long, position, data_size = head(file, 4, begin) != b"RIFF", begin + 12, 0
    for _ in range(_MOST):
        chunk = head(file, 24, position)
        name, size = chunk[:4], int.from_bytes(chunk[4:8], "little")
        if position + 8 > end or name in _WAVE or not (name.isascii() and name.decode().isprintable()):
            break
        if name == b"ds64":
            data_size = int.from_bytes(chunk[16:24], "little")
        if name == b"data" and is_long and size == 0xFFFF_FFFF:
            size = data_size
        if name == b"data" and size == 0:
            break
        position += 8 + size
        position += size % 2 and head(file, 1, position) == b"\0"  # some writers omit the padding
    return position


def _mp4_files(file: BinaryIO, end: int) -> tuple[list[int], int]:
    """The positions at which MP4 files begin, and the end of the last one."""
    begins, position = [0], 0
    for _ in range(_MOST):
        box = head(file, 16, position)
        size = int.from_bytes(box[:4], "big")
        if box[4:8] == b"ftyp" and position:
            begins.append(position)
        if position + 8 > end or size == 0:  # 0 means the rest of the file
            break
        position += max(8, int.from_bytes(box[8:], "big") if size == 1 else size)
    return begins, position


def _matroska_end(start: bytes) -> int:
    """The end of the Matroska segment; 0 if its length is not declared."""
    size, position = _matroska_size(start, 4)  # of the header
    size, position = _matroska_size(start, position + size + 4)
    return position + size if size else 0


def _matroska_size(start: bytes, position: int) -> tuple[int, int]:
    """The size stored at `position` (0 for unknown), and the position after it."""
    first = start[position] if position < len(start) else 0
    length = 9 - first.bit_length()
    size = int.from_bytes(start[position : position + length], "big") & ((1 << 7 * length) - 1)
    return size if size + 1 < 1 << 7 * length else 0, position + length


def _ends_within_a_page(tail: bytes) -> bool:
    """Whether the last page of an Ogg file is incomplete."""
    page = tail[tail.rfind(b"OggS") :]
    return len(page) < _page_size(page)


def _page_size(page: bytes) -> int:
    """The size of an Ogg page in bytes."""
    n = page[26] if len(page) > 26 else 0
    return 27 + n + sum(page[27 : 27 + n])


def _mp3_end(file: BinaryIO, start: bytes) -> int:
    """The end of an MP3 by its Xing header, which LAME and FFmpeg write into the first frame; 0 without one."""
    begin = 0
    if start[:3] == b"ID3":
        begin = 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(start[6:10]))
    frame = head(file, 200, begin)
    found = re.search(rb"(?:Xing|Info)(...[\2\3\6\7\n\x0b\x0e\x0f])", frame, re.DOTALL)
    if not found or frame[:1] != b"\xff":
        return 0
    position = found.end() + 4 * (found[1][3] & 1)  # the number of frames
    return begin + int.from_bytes(frame[position : position + 4], "big")
