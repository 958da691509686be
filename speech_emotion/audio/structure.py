"""What the headers in a file say of its length, which may be wrong: the sound may go on, or end before."""

import mmap
import os
import re
from itertools import pairwise
from typing import BinaryIO

_WAVE = b"RIFF", b"RF64", b"BW64"
_UNKNOWN = 0x7FFF_0000  # sizes from here on are what stands in files that were written to a pipe
_TAG = 1024  # bytes; what is shorter and follows the last chunk is no sound
_MOST = 1000  # headers that are looked at in a file
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def head(file: BinaryIO, size: int, position: int = 0) -> bytes:
    """`size` bytes at `position`, fewer at the end of the file, which is then at its start again."""
    file.seek(position)
    content = file.read(size)
    file.seek(0)
    return content


def waves(file: BinaryIO) -> list[tuple[int, int, bool]]:
    """Begin and end of each WAV that was joined to this one, and whether its sizes are wrong; nothing for other files.

    Nothing, too, for one WAV with the right sizes.
    """
    size = _size(file)
    if not _is_wave(head(file, 12)) or _is_filled(file, 0, size):
        return []
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        headers = re.finditer(rb"(?:RIFF|RF64|BW64)....WAVE", content, re.DOTALL)
        begins = [header.start() for header, _ in zip(headers, range(_MOST), strict=False)]
        del headers  # which holds the map
    return [(begin, end, not _is_filled(file, begin, end)) for begin, end in pairwise([*begins, size])]


def is_cut(file: BinaryIO) -> bool:
    """Whether a file is shorter than its headers say, in the kinds that say so."""
    start, size = head(file, 4096), _size(file)
    if _is_wave(start[:12]):
        return size < _wave_end(file, 0, size) < _UNKNOWN
    if start[:4] in (b"RIFF", b"FORM"):
        declared = int.from_bytes(start[4:8], "little" if start[:1] == b"R" else "big")
        return size < 8 + declared < _UNKNOWN
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return size < _matroska_end(start)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return size < _mp4_end(file, size)
    if start[:4] == b"OggS":
        return _ends_within_a_page(head(file, 2**16, max(0, size - 2**16)))
    if (found := start.find(_ASF_PROPERTIES)) >= 0:
        return size < int.from_bytes(start[found + 40 : found + 48], "little")
    return size < _mp3_end(file, start)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _is_wave(start: bytes) -> bool:
    return start[:4] in _WAVE and start[8:] == b"WAVE"


def _is_filled(file: BinaryIO, begin: int, end: int) -> bool:
    return end - _wave_end(file, begin, end) < _TAG


def _wave_end(file: BinaryIO, begin: int, end: int) -> int:
    """Where the chunks of a WAV end by their sizes; before the first that cannot be one."""
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
        position += size % 2 and head(file, 1, position) == b"\0"  # some leave the padding out
    return position


def _mp4_end(file: BinaryIO, end: int) -> int:
    position = 0
    for _ in range(_MOST):
        box = head(file, 16, position)
        size = int.from_bytes(box[:4], "big")
        if position + 8 > end or size == 0:  # 0 is for the rest of the file
            break
        position += max(8, int.from_bytes(box[8:], "big") if size == 1 else size)
    return position


def _matroska_end(start: bytes) -> int:
    """Of its segment; 0 where that has no length."""
    size, position = _matroska_size(start, 4)  # of the header
    size, position = _matroska_size(start, position + size + 4)
    return position + size if size else 0


def _matroska_size(start: bytes, position: int) -> tuple[int, int]:
    """The size that is at `position`, 0 for unknown, and the position after it."""
    first = start[position] if position < len(start) else 0
    length = 9 - first.bit_length()
    size = int.from_bytes(start[position : position + length], "big") & ((1 << 7 * length) - 1)
    return size if size + 1 < 1 << 7 * length else 0, position + length


def _ends_within_a_page(tail: bytes) -> bool:
    """Whether the last page of an Ogg file is not whole."""
    page = tail[tail.rfind(b"OggS") :]
    return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _mp3_end(file: BinaryIO, start: bytes) -> int:
    """By the Xing header, which LAME and FFmpeg write into the first frame; 0 without one."""
    begin = 0
    if start[:3] == b"ID3":
        begin = 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(start[6:10]))
    frame = head(file, 200, begin)
    found = re.search(rb"(?:Xing|Info)(...[\2\3\6\7\n\x0b\x0e\x0f])", frame, re.DOTALL)
    if not found or frame[:1] != b"\xff":
        return 0
    position = found.end() + 4 * (found[1][3] & 1)  # the number of frames
    return begin + int.from_bytes(frame[position : position + 4], "big")
