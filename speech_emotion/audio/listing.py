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
    visited: set[tuple[int, int]] = set()

    def cannot_list(error: OSError) -> None:
        recordings[error.filename] = None

    def is_new(folder: str) -> bool:
        status = os.stat(folder)
        identity = status.st_dev, status.st_ino
        return identity not in visited and not visited.add(identity)

    for path in map(os.fspath, paths):
        if is_url(path):
            files = list_files(path)
            audio = [file for file in files if file == path or _is_audio_below(path.rstrip("/"), file)]
            recordings.update(dict.fromkeys(audio))
            n_others += len(files) - len(audio)
        elif os.path.isdir(path):
            is_new(path)
            for folder, subfolders, files in os.walk(path, onerror=cannot_list, followlinks=True):
                subfolders[:] = [
                    name for name in sorted(subfolders) if name[0] != "." and is_new(os.path.join(folder, name))
                ]
                audio = [name for name in sorted(files) if _is_audio(name)]
                recordings.update(dict.fromkeys(os.path.join(folder, name) for name in audio))
                n_others += len(files) - len(audio)
        elif os.path.lexists(path):
            recordings[path] = None
        else:
            raise FileNotFoundError(f"there is no file or folder {path}")
    if not recordings:
        raise FileNotFoundError(f"there is no audio file in {', '.join(map(os.fspath, paths))}")
    return list(recordings), n_others


def _is_audio(name: str) -> bool:
    return name[0] != "." and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _is_audio_below(folder: str, url: str) -> bool:
    return "/." not in url.removeprefix(folder) and _is_audio(url.rpartition("/")[2])
