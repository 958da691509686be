"""Files made to hurt whoever opens them, written byte by byte."""

import struct
from pathlib import Path

from recordings import encoded_noise


def box(name: bytes, *content: bytes) -> bytes:
    """One box of the MP4 format."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


def many_samples(path: Path, n: int = 60_000_000) -> None:
    """An .m4a of some hundred bytes that declares `n` samples, for each of which FFmpeg makes an entry of 24 bytes."""
    entry = box(b"mp4a", bytes(6), struct.pack(">HQHHIHHH", 1, 0, 2, 16, 0, 48_000, 0, 0)[:28])
    tables = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", struct.pack(">IIII", 0, 1, n, 1024)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, n, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, n)),
        box(b"stco", struct.pack(">III", 0, 1, 40)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 48_000, n, 0)),
        box(b"hdlr", struct.pack(">II", 0, 0), b"soun", bytes(13)),
        box(b"minf", box(b"smhd", bytes(8)), tables),
    )
    header = box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 1000, 1000), bytes(80))
    track = box(b"trak", box(b"tkhd", struct.pack(">IIIIII", 7, 0, 0, 1, 0, 1000), bytes(60)), media)
    path.write_bytes(box(b"ftyp", b"M4A ", bytes(4), b"M4A ") + box(b"moov", header, track))


def endless(path: Path, sound: bytes) -> None:
    """Sound, then 64 GB of zeros (a hole, which takes no space), in which FFmpeg looks for more of it."""
    with path.open("wb") as file:
        file.write(sound)
        file.truncate(2**36)


def damaged_mp3(path: Path) -> None:
    """libmpg123 writes its notes to stderr."""
    content = bytearray(encoded_noise(4, format="MP3"))
    for position in range(500, len(content), 97):
        content[position] ^= 0xFF
    path.write_bytes(content)
