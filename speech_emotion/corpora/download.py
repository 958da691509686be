"""Download a corpus from its publisher into data/."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pooch

from speech_emotion.corpora import emodb, nemo
from speech_emotion.corpora.clips import CLIP_SUFFIXES, NoDataError, walk_clips
from speech_emotion.corpora.ravdess import expected_clips
from speech_emotion.locks import locked

TRIES = 5
ARCHIVES = "archives"  # the folder below data/ for archives until they are unpacked
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


class DownloadError(RuntimeError):
    """The data could not be downloaded, or are not the published ones; the message is one sentence."""


@dataclass(frozen=True)
class Archive:
    """A published zip file, and how to verify it.

    The size and CRC of each clip, which the zip file contains, are always checked, and so is the number of clips. If
    known, the archive is also compared with its published `md5`, or its clips with the git tree `tree`.
    """

    corpus: str
    base_url: str
    name: str
    folder: str  # below data/
    is_clip: Callable[[str], object]  # takes a file stem
    n_clips: int
    space: float  # GB, archive and unpacked clips together
    md5: str | None = None
    tree: str | None = None


_RAVDESS = partial(Archive, "RAVDESS", "https://zenodo.org/records/1188976/files/", space=1)
_NEMO_COMMIT = "66de9999a8f2f605eb5f64841790aa5cb0877782"
CORPORA = {
    "ravdess": (
        _RAVDESS(
            "Audio_Speech_Actors_01-24.zip",
            "speech_actors",
            expected_clips("speech").__contains__,
            1440,
            md5="bc696df654c87fed845eb13823edef8a",
        ),
        _RAVDESS(
            "Audio_Song_Actors_01-24.zip",
            "song_actors",
            expected_clips("song").__contains__,
            1012,
            md5="5411230427d67a21e18aa4d466e6d1b9",
        ),
    ),
    "nemo": (
        Archive(
            "nEMO",
            "https://github.com/amu-cai/nEMO/archive/",
            f"{_NEMO_COMMIT}.zip",
            "nemo",
            nemo.describe,
            nemo.N_CLIPS,
            space=1.2,
            tree="30db65f71057bfbad740503c6cb2fc66e2e8ab16",
        ),
    ),
    "emodb": (
        Archive(
            "EmoDB",
            "http://emodb.bilderbar.info/download/",
            "download.zip",
            "emodb",
            partial(emodb.describe, boredom=True),
            emodb.N_CLIPS,
            space=0.2,
        ),
    ),
}


def download(archives: tuple[Archive, ...], data: Path, base_url: str | None = None, keep: bool = False) -> list[str]:
    """Download, verify and unpack the `archives` whose clips are incomplete under `data`; returns their folders.

    Existing clips are not changed, clips are written atomically, and the leftovers of a killed run are reused or
    removed. `base_url` is a mirror. Raises DownloadError if the disk has too little space, or if an archive cannot be
    downloaded, is not the published one, would write outside its folder, or lacks a clip; OSError if another process
    is downloading.
    """
    data.mkdir(parents=True, exist_ok=True)
    with locked(data / ".download.lock", f"{data} is being filled"):
        return _download(archives, data, base_url, keep)


def _download(archives: tuple[Archive, ...], data: Path, base_url: str | None, keep: bool) -> list[str]:
    for folder in (data, data / ARCHIVES):
        _remove_leftovers(folder)
    present = {archive.folder: _clips_under(data, archive) for archive in archives}
    incomplete = [archive for archive in archives if len(present[archive.folder]) < archive.n_clips]
    space = sum(archive.space for archive in incomplete)
    if (free := shutil.disk_usage(data).free / 1e9) < space:
        raise DownloadError(f"{data} has {free:.1f} GB left, {incomplete[0].corpus} needs {space:.1f} GB")
    for archive in incomplete:
        file = _fetch(archive, base_url or archive.base_url, data / ARCHIVES)
        try:
            _unpack(archive, file, data / archive.folder, present[archive.folder])
        except (DownloadError, zipfile.BadZipFile, EOFError) as error:
            file.unlink()  # so that the next run downloads it again
            raise DownloadError(str(error) or f"{archive.name} is cut short") from error
        if not keep:
            file.unlink()
    if incomplete and not keep:
        (data / ARCHIVES).rmdir()
    return [archive.folder for archive in incomplete]


def _remove_leftovers(folder: Path) -> None:
    """Delete pooch's unfinished archives, and the scratch folders of earlier versions."""
    for path in folder.glob("tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            if path.is_file():
                path.unlink()
            elif all(child.name.startswith("Actor_") for child in path.iterdir()):
                shutil.rmtree(path)


def _clips_under(data: Path, archive: Archive) -> set[str]:
    try:
        return set(walk_clips(data, lambda stem: {"clip": stem} if archive.is_clip(stem) else None, "")["clip"])
    except NoDataError:
        return set()


def _fetch(archive: Archive, base_url: str, folder: Path) -> Path:
    """The archive in `folder`, downloaded unless it is there with the right checksum; failed attempts are repeated."""
    known_hash = archive.md5 and f"md5:{archive.md5}"
    source = pooch.create(folder, base_url, registry={archive.name: known_hash}, retry_if_failed=TRIES - 1)
    try:
        return Path(source.fetch(archive.name, progressbar=True))
    except ValueError as error:
        raise DownloadError(f"{base_url}{archive.name} is not the published archive: its MD5 sum is wrong") from error
    except OSError as error:  # includes all errors of requests
        raise DownloadError(f"cannot download {base_url}{archive.name} after {TRIES} attempts: {error}") from error


def _unpack(archive: Archive, file: Path, target: Path, present: set[str]) -> None:
    """Write the clips that are not `present` to `target`, one by one, if the archive has all of them."""
    with zipfile.ZipFile(file) as content:
        clips = {}
        for member in content.infolist():
            path = Path(member.filename)
            if path.is_absolute() or ".." in path.parts:
                raise DownloadError(f"{archive.name} would write outside its folder: {path}")
            if path.suffix.lower() in CLIP_SUFFIXES and archive.is_clip(path.stem):
                clips[path] = member
        if len({path.stem for path in clips}) < archive.n_clips:
            raise DownloadError(f"{archive.name} holds {len(clips)} clips of {archive.corpus}, not {archive.n_clips}")
        if archive.tree and _git_tree(content, clips) != archive.tree:
            raise DownloadError(f"{archive.name} does not hold the clips of {archive.corpus} that were published")
        for path, member in clips.items():
            if path.stem not in present:
                _write_whole(content, member, target / path.parent.name / path.name)


def _write_whole(content: zipfile.ZipFile, member: zipfile.ZipInfo, clip: Path) -> None:
    clip.parent.mkdir(parents=True, exist_ok=True)
    part = clip.with_name(f"{clip.name}.part")  # not a clip by its suffix; the next run overwrites it
    with content.open(member) as packed, part.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)  # checks the CRC at the end
        unpacked.flush()
        os.fsync(unpacked.fileno())
        size = unpacked.tell()
    if size != member.file_size:
        raise DownloadError(f"{member.filename} has {size} bytes, its archive says {member.file_size}")
    part.replace(clip)


def _git_tree(content: zipfile.ZipFile, clips: dict[Path, zipfile.ZipInfo]) -> str:
    """The hash of these files as a git tree: SHA-1 over their names and the SHA-1 of their contents."""
    entries = b""
    for path in sorted(clips, key=lambda path: path.name):
        blob = content.read(clips[path])
        digest = hashlib.sha1(b"blob %d\0" % len(blob) + blob).digest()
        entries += b"100644 %s\0%s" % (path.name.encode(), digest)
    return hashlib.sha1(b"tree %d\0" % len(entries) + entries).hexdigest()
