"""Recordings in an object store: s3://, gs:// and whatever else pyarrow's file systems reach."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO


def is_url(path: object) -> bool:
    return "://" in str(path)


def list_files(url: str) -> list[str]:
    """The file of this name, or else all files below this folder or prefix, as urls, sorted.

    Raises FileNotFoundError when there is neither, OSError when the store does not answer, ValueError for an unknown
    kind of store
    and for a web address, ImportError without pyarrow.
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
    """A copy of the file on this machine's disk, for as long as it is needed. Raises what list_files raises."""
    _, files, path = _locate(url)
    with tempfile.TemporaryFile(
        buffering=0
    ) as copy:  # it has no name, so that nothing is left whatever ends the process
        with files.open_input_stream(path) as source:
            shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _locate(url: str):
    """`url` → what precedes a path to make it a url, the pyarrow.fs.FileSystem, the path in it."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in ("http", "https", "ftp"):
        raise ValueError(f"{url} is a web address: download the file first, and give its name")
    bucket, _, key = rest.partition("/")
    files, base = _file_system(f"{scheme}://{bucket}/")
    base = base.rstrip("/")
    return f"{scheme}://{bucket}".removesuffix(base), files, f"{base}/{key}".rstrip("/")


@lru_cache
def _file_system(root: str):
    """Once for each bucket: its region and the credentials take requests to find out."""
    try:
        from pyarrow.fs import FileSystem
    except ImportError as error:
        raise ImportError(f"{root} needs pyarrow: pip install -r requirements-ray.txt") from error
    return FileSystem.from_uri(root)
