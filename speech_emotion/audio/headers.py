"""What the first bytes of a file say: what it is if not a recording, and where the recording ends."""

import os
import re
from typing import BinaryIO

START = 4096  # bytes that identify the format
_UNKNOWN = 0x7FFF_0000  # from here on, a size is the placeholder of a file that was written to a pipe
_TAG = 1024  # bytes; anything shorter after the end is a tag or padding
_MOST = 1000  # headers examined per file
_MP4 = re.compile(rb"....(?:ftyp|moov|mdat|wide|free|skip)", re.DOTALL)
_RIFF = re.compile(rb"(?:RIFF|RF64|BW64|FORM)....(?:WAVE|AVI |AIF[FC])|caff", re.DOTALL)
_FIRST_CHUNKS = b"RIFF", b"RF64", b"BW64", b"FORM", b"caff", b"ftyp"  # of a file that was joined to this one
_XING = re.compile(rb"(?:Xing|Info)(...[\2\3\6\7\n\x0b\x0e\x0f])", re.DOTALL)
_NOT_RECORDINGS = [  # first bytes, what it is, what to do
    (rb"\s*<(?i:!doctype html|html)", "a web page: the address that was downloaded shows a page, not the recording"),
    (rb"PK\x03\x04", "a ZIP archive: unpack it first"),
    (rb"Rar!|7z\xbc\xaf\x27\x1c|\x1f\x8b", "an archive: unpack it first"),
    (rb"version https://git-lfs", "a Git LFS pointer: `git lfs pull` downloads the recording"),
    (rb"\x02?#!SILK", "in SILK (a voice message of WeChat or QQ): convert it first, for instance with silk-v3-decoder"),
    (rb"\x03(?:ds2|enc)", "in DS2 (a dictation): save it as WAV with the program of the recorder"),
]


def head(file: BinaryIO, size: int, position: int = 0) -> bytes:
    """Up to `size` bytes from `position`; the file is then rewound."""
    file.seek(position)
    content = file.read(size)
    file.seek(0)
    return content


def what_it_is(start: bytes) -> str:
    """A sentence about a file that begins with `start` and is not a recording; "" if it may be one."""
    if not start:
        return "it is empty"
    begin = start.removeprefix(b"\xef\xbb\xbf")
    return next((f"it is {what}" for pattern, what in _NOT_RECORDINGS if re.match(pattern, begin)), "")


def what_is_missing(file: BinaryIO, start: bytes) -> str:
    """A sentence about a file in which decoders find no sound; "" if there is nothing to say."""
    if not any(start):
        return "it begins with zeros only: it was not copied or downloaded completely"
    if _MP4.match(start) and b"moov" not in _chunks(file, start)[0]:
        return "its recording was never finished or copied completely (moov atom not found)"
    return ""


def cut_and_ignored(file: BinaryIO, start: bytes) -> tuple[bool, int]:
    """Whether a file ends before its headers say, and the number of bytes after that end, where decoders stop.

    (False, 0) for formats in which decoders themselves find out.
    """
    size = os.fstat(file.fileno()).st_size
    if _RIFF.match(start) or _MP4.match(start):
        end = _chunks(file, start)[1]
        return size < end < _UNKNOWN, size - end if end < size - _TAG else 0
    if start[:4] == b"OggS":
        tail = head(file, 2**16, max(0, size - 2**16))
        page = tail[max(0, tail.rfind(b"OggS")) :]
        n_segments = page[26] if len(page) > 26 else 0
        return len(page) < 27 + n_segments + sum(page[27 : 27 + n_segments]), 0
    return size < _mp3_end(file, start), 0


def _chunks(file: BinaryIO, start: bytes) -> tuple[set[bytes], int]:
    """The names of the chunks of a WAV, AVI, AIFF, CAF or MP4 file, and where the last one ends by its size."""
    size, is_mp4, is_caf = os.fstat(file.fileno()).st_size, bool(_MP4.match(start)), start[:4] == b"caff"
    order = "little" if start[:4] in (b"RIFF", b"RF64", b"BW64") else "big"
    name_at, size_at, of_size = (4, 0, 4) if is_mp4 else (0, 4, 8 if is_caf else 4)
    names, position = set(), 0 if is_mp4 else 8 if is_caf else 12
    for _ in range(_MOST):
        header = head(file, 16, position)
        name, length = header[name_at : name_at + 4], int.from_bytes(header[size_at : size_at + of_size], order)
        is_next_file = position > 0 and name in _FIRST_CHUNKS and header[8:12] != b"AVIX"
        if position + 8 > size or is_next_file or not (name.isascii() and name.decode().isprintable()):
            break
        names.add(name)
        if (length == 0 and name in (b"data", b"mdat")) or length in (0xFFFF_FFFF, 2**64 - 1):  # the rest of the file
            return names, size
        if is_mp4:
            position += max(8, int.from_bytes(header[8:], "big") if length == 1 else length)
        else:
            position += size_at + of_size + length
            position += not is_caf and length % 2 and head(file, 1, position) == b"\0"  # some writers omit the padding
    return names, position


def _mp3_end(file: BinaryIO, start: bytes) -> int:
    """The end of an MP3 by its Xing header, which LAME and FFmpeg write into the first frame; 0 without one."""
    begin = 0
    if start[:3] == b"ID3":
        begin = 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(start[6:10]))
    frame = head(file, 200, begin)
    found = _XING.search(frame)
    if not found or frame[:1] != b"\xff":
        return 0
    position = found.end() + 4 * (found[1][3] & 1)  # the number of frames
    return begin + int.from_bytes(frame[position : position + 4], "big")
