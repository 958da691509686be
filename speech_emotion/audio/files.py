"""Paths, folders, patterns and urls (s3://, gs:// and whatever else pyarrow supports) → the recordings to classify."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO

from speech_emotion.audio.decoders import RAW_FORMATS
from speech_emotion.optional import needed_by

# fmt: off
AUDIO_SUFFIXES = {  # of common formats that FFmpeg or libsndfile reads
    ".3g2", ".3ga", ".3gp", ".3gpp", ".8svx", ".aa3", ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".amv",
    ".ape", ".asf", ".au", ".avi", ".awb", ".bw64", ".bwf", ".caf", ".dff", ".divx", ".dsf", ".dss", ".dts", ".dv",
    ".dvr-ms", ".eac3", ".ec3", ".f4a", ".f4v", ".flac", ".flv", ".gxf", ".m1a", ".m2a", ".m2p", ".m2t", ".m2ts",
    ".m4a", ".m4b", ".m4r", ".m4v", ".mk3d", ".mka", ".mkv", ".mlp", ".mov", ".mp1", ".mp2", ".mp3", ".mp4", ".mpa",
    ".mpc", ".mpe", ".mpeg", ".mpg", ".mpga", ".mts", ".mxf", ".nist", ".nut", ".oga", ".ogg", ".ogm", ".ogv", ".ogx",
    ".oma", ".opus", ".paf", ".qcp", ".qt", ".qta", ".ra", ".rf64", ".rm", ".rmvb", ".shn", ".snd", ".sph", ".spx",
    ".svx", ".swf", ".tak", ".thd", ".tod", ".tp", ".trp", ".ts", ".tta", ".vob", ".voc", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wtv", ".wv", *RAW_FORMATS,
}
# fmt: on
_OF_SYSTEMS = {"$recycle.bin", "#recycle", "@eadir", "system volume information", "lost+found"}  # folders
_ALSO_TYPESCRIPT = {".ts", ".mts"}
_TEXT = 4096  # bytes in which MPEG has zeros or 255s, which text never has
_SHOWN = 5  # most endings in a message


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[str], int]:
    """The recordings in `paths`, and the number of other files in their folders.

    A file is taken whatever its name; a folder is searched recursively for audio and video files, sorted, without the
    hidden ones and without the bins of operating systems. Links are followed; a folder or path that is reached twice
    counts once. A folder that cannot be listed is returned itself, so that its row says why. A pattern (ann/*.m4a,
    calls/**) is expanded unless a file has that name: to files with the suffix that it gives, else to audio and video
    files, and to folders. A url (s3://bucket/prefix) is a file or folder in a bucket. Raises FileNotFoundError if a
    path does not exist or there is nothing to classify, and for urls what fetched raises.
    """
    recordings: dict[str, None] = {}  # an ordered set
    others: Counter[str] = Counter()  # the endings of other files
    visited: set[str] = set()
    paths = list(map(os.fspath, paths))
    for path in paths:
        for file, is_audio in _files(path, visited):
            if is_audio:
                recordings[file] = None
            else:
                others[os.path.splitext(file)[1].lower() or "no ending"] += 1
    if not recordings:
        endings = ", ".join(f"{n} with {ending}" for ending, n in others.most_common(_SHOWN))
        files = f" (of {others.total()} other files: {endings})" if others else ""
        raise FileNotFoundError(f"there is no audio file in {', '.join(paths)}{files}")
    return list(recordings), others.total()


def _files(path: str, visited: set[str]) -> Iterator[tuple[str, bool]]:
    """The files that a path stands for, each with whether it is to be classified."""
    if is_url(path):
        for file in _list_bucket(path):
            below = file.removeprefix(path.rstrip("/"))
            is_hidden = any(part[:1] == "." or part.lower() in _OF_SYSTEMS for part in below.split("/"))
            yield file, file == path or (not is_hidden and _is_audio(file))
    elif os.path.isdir(path):
        yield from _walk(path, visited)
    elif _exists(path):
        yield path, True
    elif matches := sorted(glob(path, recursive=True)):
        suffix = os.path.splitext(path)[1]
        gives_ending = bool(suffix) and not has_magic(suffix)
        for match in matches:
            if "**" in path and _OF_SYSTEMS & set(match.lower().split(os.sep)):
                continue
            if not os.path.isdir(match):
                yield match, gives_ending or _is_audio(match)
            elif "**" not in path:  # which already matches files in subfolders
                yield from _walk(match, visited)
    else:
        folder, name = os.path.split(path)
        near = []
        with suppress(OSError):
            near = get_close_matches(name, os.listdir(folder or "."), 1)
        remedy = f"; did you mean {os.path.join(folder, near[0])}?" if near else ""
        raise FileNotFoundError(f"there is no file or folder {path}{remedy}")


def _walk(path: str, visited: set[str]) -> Iterator[tuple[str, bool]]:
    """The files in a folder, its own before those of its subfolders, and each folder that cannot be listed."""
    denied: list[str] = []
    visited.add(os.path.realpath(path))
    for folder, subfolders, files in os.walk(
        path, onerror=lambda error: denied.append(error.filename), followlinks=True
    ):
        for name in sorted(files):
            file = os.path.join(folder, name)
            yield file, _is_audio(file)
        chosen = []
        for name in sorted(subfolders):
            place = os.path.realpath(os.path.join(folder, name))
            if name[0] != "." and name.lower() not in _OF_SYSTEMS and place not in visited:
                visited.add(place)
                chosen.append(name)
        subfolders[:] = chosen
    yield from ((folder, True) for folder in denied)


def _exists(path: str) -> bool:
    """True also if the path cannot be looked at: its row then says why."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        pass
    return True


def _is_audio(path: str) -> bool:
    """Whether the name is that of a visible audio or video file, and for .ts, whether that is not TypeScript."""
    suffix = os.path.splitext(path)[1].lower()
    if os.path.basename(path)[0] == "." or suffix not in AUDIO_SUFFIXES:
        return False
    if suffix not in _ALSO_TYPESCRIPT:
        return True
    try:
        with open(path, "rb") as file:
            content = file.read(_TEXT)
    except OSError:
        return True  # its row says why
    return not content or b"\0" in content or b"\xff" in content


def is_url(path: object) -> bool:
    return "://" in str(path)


@contextmanager
def fetched(url: str) -> Iterator[BinaryIO]:
    """Context manager: a temporary copy of the file on the local disk.

    Raises FileNotFoundError if there is no such file, OSError if the store does not answer, ValueError for an unknown
    kind of store and for a web address, ImportError without pyarrow.
    """
    store, path, _ = _located(url)
    with tempfile.TemporaryFile(buffering=0) as copy:  # without a name, so that nothing is left behind at any end
        with store.open_input_stream(path) as source:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _list_bucket(url: str) -> list[str]:
    """The urls of the file with this name, or else of all files below this folder or prefix, sorted."""
    store, path, root = _located(url)
    from pyarrow.fs import FileSelector, FileType

    kind = store.get_file_info(path).type
    if kind == FileType.NotFound:
        raise FileNotFoundError(f"there is no file or folder {url}")
    if kind == FileType.File:
        return [url]
    below = store.get_file_info(FileSelector(path, recursive=True))
    return sorted(root + info.path for info in below if info.is_file)


def _located(url: str) -> tuple:
    """`url` → the pyarrow.fs.FileSystem, the path in it, and the prefix that turns such a path into a url."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in ("http", "https", "ftp"):
        raise ValueError(f"{url} is a web address: download the file first, and give its name")
    bucket, _, key = rest.partition("/")
    store, base = _file_system(f"{scheme}://{bucket}/")
    base = base.rstrip("/")
    return store, f"{base}/{key}".rstrip("/"), f"{scheme}://{bucket}".removesuffix(base)


@lru_cache
def _file_system(root: str) -> tuple:
    """Cached by bucket, because finding its region and the credentials takes requests."""
    with needed_by(root, "pyarrow"):
        from pyarrow.fs import FileSystem
    return FileSystem.from_uri(root)
