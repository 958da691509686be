"""Download a corpus from its publisher into data/."""

import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pooch

from speech_emotion.corpora.clips import CLIP_SUFFIXES, find_clips
from speech_emotion.corpora.foreign import EMODB_WITH_BOREDOM, NEMO, URDU
from speech_emotion.corpora.ravdess import expected_clips
from speech_emotion.outputs import locked

TRIES = 5
_SCRATCH = ".download"  # the folder below data/ for what is not yet complete


class DownloadError(RuntimeError):
    """The data could not be downloaded, or are not the published ones; the message is one sentence."""


@dataclass(frozen=True)
class Archive:
    """A published zip file. The number of its clips is checked, and its checksum if the publisher gives one."""

    corpus: str
    url: str
    folder: str  # below data/
    is_clip: Callable[[str], object]  # takes a file stem
    n_clips: int
    space: float  # GB, archive and unpacked clips together
    checksum: str | None = None


def _ravdess(channel: str, checksum: str) -> Archive:
    clips = expected_clips(channel)
    url = f"https://zenodo.org/records/1188976/files/Audio_{channel.title()}_Actors_01-24.zip"
    return Archive("RAVDESS", url, f"{channel}_actors", clips.__contains__, len(clips), 1, checksum)


CORPORA = {
    "ravdess": (
        _ravdess("speech", "md5:bc696df654c87fed845eb13823edef8a"),
        _ravdess("song", "md5:5411230427d67a21e18aa4d466e6d1b9"),
    )
} | {
    corpus.folder: (Archive(corpus.name, corpus.archive, corpus.folder, corpus.describe, corpus.n_clips, corpus.space),)
    for corpus in (NEMO, EMODB_WITH_BOREDOM, URDU)
}


def download(archives: tuple[Archive, ...], data: Path, base_url: str | None = None) -> list[str]:
    """Download and unpack the `archives` whose clips are incomplete under `data`; returns their folders.

    Existing clips are not changed, and a clip is never there in part. `base_url` is a mirror. Raises DownloadError if
    the disk has too little space, or if an archive cannot be downloaded, is not the published one or lacks a clip;
    OSError if another process is downloading.
    """
    data.mkdir(parents=True, exist_ok=True)
    scratch = data / _SCRATCH
    with locked(data / ".download.lock", f"{data} is being filled"):
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
        present = [find_clips(data, archive.is_clip) for archive in archives]
        incomplete = [(one, clips) for one, clips in zip(archives, present, strict=True) if len(clips) < one.n_clips]
        space = sum(archive.space for archive, _ in incomplete)
        if (free := shutil.disk_usage(data).free / 1e9) < space:
            raise DownloadError(f"{data} has {free:.1f} GB left, {archives[0].corpus} needs {space:.1f} GB")
        try:
            for archive, clips in incomplete:
                for clip in _fetch(archive, scratch, base_url):
                    if clip.stem not in clips:
                        target = data / archive.folder / clip.parent.name / clip.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        clip.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return [archive.folder for archive, _ in incomplete]


def _fetch(archive: Archive, folder: Path, base_url: str | None) -> list[Path]:
    """All clips of the archive, unpacked in `folder`; failed attempts are repeated."""
    publisher, _, name = archive.url.rpartition("/")
    url = f"{(base_url or publisher).rstrip('/')}/{name}"
    source = pooch.create(folder, "", registry={name: archive.checksum}, urls={name: url}, retry_if_failed=TRIES - 1)
    try:
        files = [Path(file) for file in source.fetch(name, processor=pooch.Unzip(), progressbar=True)]
    except ValueError as error:
        raise DownloadError(f"{url} is not the published archive: its checksum is wrong") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"{url} is damaged: {error}") from error
    except OSError as error:  # includes all errors of requests
        raise DownloadError(f"cannot download {url} after {TRIES} attempts: {error}") from error
    clips = [file for file in files if file.suffix.lower() in CLIP_SUFFIXES and archive.is_clip(file.stem)]
    if (n := len({clip.stem for clip in clips})) < archive.n_clips:
        raise DownloadError(f"{url} holds {n} clips of {archive.corpus}, not {archive.n_clips}")
    return clips
