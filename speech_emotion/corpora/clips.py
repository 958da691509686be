"""Shared by all corpora: walk a folder and build the table of clips; each corpus parses its own file names."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not needed to parse names, and slow to import
    import pandas as pd

CLIP_SUFFIXES = (".wav", ".flac")


class NoDataError(FileNotFoundError):
    """No clip of the corpus was found; the message says where to get it."""


def find_clips(folder: str | Path, is_clip: Callable[[str], object]) -> dict[str, Path]:
    """The clips below `folder`, at any depth, by file stem, of which `is_clip` tells whether it is one.

    A stem found twice counts once (some archives contain a second copy).
    """
    clips = {}
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        subfolders.sort()
        for path in map(Path(parent).joinpath, sorted(files)):
            if path.suffix.lower() in CLIP_SUFFIXES and path.stem not in clips and is_clip(path.stem):
                clips[path.stem] = path
    return clips


def walk_clips(folder: str | Path, describe: Callable[[str], dict | None], no_data: str) -> "pd.DataFrame":
    """One row per clip below `folder`, sorted by file stem: clip (the stem), path, and `describe(stem)`.

    `describe` returns None for a file that does not belong to the corpus. Raises NoDataError, with `no_data` as a
    template for {folder}, if there are no clips.
    """
    import pandas as pd

    clips = find_clips(folder, describe)
    if not clips:
        raise NoDataError(no_data.format(folder=folder))
    rows = [{"clip": stem, "path": str(path), **describe(stem)} for stem, path in sorted(clips.items())]
    return pd.DataFrame(rows)
