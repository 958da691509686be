"""Paths, folders, patterns and urls → the recordings to classify."""

import os
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path

from speech_emotion.audio.buckets import is_url, list_files

# fmt: off
AUDIO_SUFFIXES = {  # of common formats that FFmpeg or libsndfile reads
    ".3g2", ".3ga", ".3gp", ".3gpp", ".8svx", ".aa3", ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".amv",
    ".ape", ".asf", ".au", ".avi", ".awb", ".bw64", ".bwf", ".caf", ".dff", ".divx", ".dsf", ".dss", ".dts", ".dv",
    ".dvr-ms", ".eac3", ".ec3", ".f4a", ".f4v", ".flac", ".flv", ".gxf", ".m1a", ".m2a", ".m2p", ".m2t", ".m2ts",
    ".m4a", ".m4b", ".m4r", ".m4v", ".mk3d", ".mka", ".mkv", ".mlp", ".mov", ".mp1", ".mp2", ".mp3", ".mp4", ".mpa",
    ".mpc", ".mpe", ".mpeg", ".mpg", ".mpga", ".mts", ".mxf", ".nist", ".nut", ".oga", ".ogg", ".ogm", ".ogv", ".ogx",
    ".oma", ".opus", ".paf", ".qcp", ".qt", ".ra", ".rf64", ".rm", ".rmvb", ".shn", ".snd", ".sph", ".spx", ".svx",
    ".swf", ".tak", ".thd", ".tod", ".tp", ".trp", ".ts", ".tta", ".vob", ".voc", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wtv", ".wv",
}
# fmt: on


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[str], int]:
    """The recordings in `paths`, and the number of other files in their folders.

    A file is taken whatever its name; a folder is searched recursively for audio and video files, sorted, without the
    hidden ones. Links are followed; a folder or path that is reached twice counts once. A folder that cannot be listed
    is returned itself, so that its row says why. A pattern (ann/*.m4a, calls/**) is expanded unless a file has that
    name: to files with the suffix that it gives, else to audio and video files, and to folders. A url
    (s3://bucket/prefix) is a file or folder in a bucket. Raises FileNotFoundError if a path does not exist or there is
    nothing to classify, and for urls what list_files raises.
    """
    recordings: dict[str, None] = {}  # an ordered set
    n_others = 0
    visited: set[tuple] = set()

    for path in map(os.fspath, paths):
        if is_url(path):
            files = list_files(path)
            audio = [file for file in files if file == path or _is_audio_below(path.rstrip("/"), file)]
            recordings.update(dict.fromkeys(audio))
            n_others += len(files) - len(audio)
        elif os.path.isdir(path):
            below, others = _walk(path, visited)
            recordings.update(dict.fromkeys(below))
            n_others += others
        elif _exists(path):
            recordings[path] = None
        elif matches := sorted(glob(path, recursive=True)):
            below, others = _matched(path, matches, visited)
            recordings.update(dict.fromkeys(below))
            n_others += others
        else:
            raise FileNotFoundError(f"there is no file or folder {path}")
    if not recordings:
        raise FileNotFoundError(f"there is no audio file in {', '.join(map(os.fspath, paths))}")
    return list(recordings), n_others


def _walk(path: str, visited: set[tuple]) -> tuple[list[str], int]:
    """find_recordings for one folder. os.walk recurses in Python 3.11, and fails for paths that are too long."""
    recordings, n_others, folders = [], 0, [path]
    visited.add(_identity(path))
    while folders:
        folder = folders.pop()
        subfolders = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not entry.is_dir():
                        is_audio = _is_audio(entry.name)
                        n_others += not is_audio
                        recordings += [entry.path] * is_audio
                    elif entry.name[0] != "." and (identity := _identity(entry.path)) not in visited:
                        visited.add(identity)
                        subfolders.append(entry.path)
        except OSError:
            recordings.append(folder)
        folders += reversed(subfolders)
    return recordings, n_others


def _matched(pattern: str, matches: list[str], visited: set[tuple]) -> tuple[list[str], int]:
    """find_recordings for a pattern; with **, which already matches files in subfolders, folders are skipped."""
    suffix = os.path.splitext(pattern)[1]
    gives_ending = bool(suffix) and not has_magic(suffix)
    recordings, n_others = [], 0
    for match in matches:
        below, others = [match], 0
        if os.path.isdir(match):
            below, others = ([], 0) if "**" in pattern else _walk(match, visited)
        elif not gives_ending and not _is_audio(os.path.basename(match)):
            below, others = [], 1
        recordings += below
        n_others += others
    return recordings, n_others


def _identity(folder: str) -> tuple:
    """The same value for a folder under all its names; just the name if the folder cannot be looked at."""
    try:
        status = os.stat(folder)
    except OSError:
        return (folder,)
    return status.st_dev, status.st_ino


def _exists(path: str) -> bool:
    """True also if the path cannot be looked at: its row then says why."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def _is_audio(name: str) -> bool:
    return name[0] != "." and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _is_audio_below(folder: str, url: str) -> bool:
    return "/." not in url.removeprefix(folder) and _is_audio(url.rpartition("/")[2])
