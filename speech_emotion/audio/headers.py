"""What the headers of a file say: what it is if not a recording, and where a recording ends."""

import os
import re
from typing import BinaryIO

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
