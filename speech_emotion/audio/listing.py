"""Paths that a user names → the recordings that they mean."""

import os
from collections.abc import Iterable
from pathlib import Path

from speech_emotion.audio.buckets import is_url, list_files

# fmt: off
AUDIO_SUFFIXES = {
    ".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64", ".m4a", ".m4b", ".aac", ".mp2", ".wma", ".amr", ".3gp", ".3ga", ".weba", ".webm", ".mka", ".mkv", ".mp4",
    ".m4v", ".mov", ".avi", ".wmv", ".ogv",
}
# fmt: on


def find_recordings(paths: Iterable[str | Path]) -> tuple[list[str], int]:
    """The recordings that `paths` mean, and how many other files their folders hold.

    A file stands for itself, whatever its name; a folder for the audio and video files below it, sorted, without the
    hidden ones. Links are followed; a folder reached twice counts once, and so does a path. A folder that cannot be
    listed stands for itself, so that its row says why. A url (s3://bucket/prefix) is a file or folder in a bucket.
    Raises FileNotFoundError when a path does not exist or when there is nothing to classify, and for urls what
    list_files raises.
    """
    recordings: dict[str, None] = {}  # ordered, each once
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
        else:
            raise FileNotFoundError(f"there is no file or folder {path}")
    if not recordings:
        raise FileNotFoundError(f"there is no audio file in {', '.join(map(os.fspath, paths))}")
    return list(recordings), n_others


def _walk(path: str, visited: set[tuple]) -> tuple[list[str], int]:
    """As find_recordings, for one folder; os.walk recurses in Python 3.11, and knows no path that is too long."""
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


def _identity(folder: str) -> tuple:
    """What a folder is under every name; its name, where that is all that can be known."""
    try:
        status = os.stat(folder)
    except OSError:
        return (folder,)
    return status.st_dev, status.st_ino


def _exists(path: str) -> bool:
    """Or may do so: the row of one that cannot be looked at says why."""
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
