"""Recordings in an object store: s3://, gs://, and every other kind that pyarrow's file systems support."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO

from speech_emotion.optional import needed_by


def is_url(path: object) -> bool:
    return "://" in str(path)


def list_files(url: str) -> list[str]:
    """The urls of the file with this name, or else of all files below this folder or prefix, sorted.

    Raises FileNotFoundError if there is neither, OSError if the store does not answer, ValueError for an unknown kind
    of store and for a web address, ImportError without pyarrow.
    """
    root, files, path = _locate(url)
    from pyarrow.fs import FileSelector, FileType

    kind = files.get_file_info(path).type
    if kind == FileType.NotFound:
        raise FileNotFoundError(f"there is no file or folder {url}")
    if kind == FileType.File:
        return [url]
    below = files.get_file_info(FileSelector(path, recursive=True))
    return sorted(root + info.path for info in below if info.is_file)


@contextmanager
def fetched(url: str) -> Iterator[BinaryIO]:
    """Context manager: a temporary copy of the file on the local disk. Raises what list_files raises."""
    _, files, path = _locate(url)
    with tempfile.TemporaryFile(
        buffering=0
    ) as copy:  # it has no name, so nothing is left behind however the process ends
        with files.open_input_stream(path) as source:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _locate(url: str):
    """`url` → the prefix that turns a path into a url, the pyarrow.fs.FileSystem, and the path in it."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in ("http", "https", "ftp"):
        raise ValueError(f"{url} is a web address: download the file first, and give its name")
    bucket, _, key = rest.partition("/")
    files, base = _file_system(f"{scheme}://{bucket}/")
    base = base.rstrip("/")
    return f"{scheme}://{bucket}".removesuffix(base), files, f"{base}/{key}".rstrip("/")


@lru_cache
def _file_system(root: str):
    """Cached by bucket, because finding its region and the credentials takes requests."""
    with needed_by(root, "pyarrow"):
        from pyarrow.fs import FileSystem
    return FileSystem.from_uri(root)
