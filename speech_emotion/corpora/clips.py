"""The table that every corpus gives: the walk over a folder, whose file names each corpus reads in its own way."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # eval.py reads names without paying for pandas
    import pandas as pd

CLIP_SUFFIXES = (".wav", ".flac")


class NoDataError(FileNotFoundError):
    """There is not one clip of the corpus where it should be; the message says where to get it."""


def walk_clips(folder: str | Path, describe: Callable[[str], dict | None], no_data: str) -> "pd.DataFrame":
    """One row per clip below `folder`, at any depth, sorted by file stem: clip (the stem), path, what `describe` says.

    `describe` gets a stem and returns None for a file that is not one of its corpus. A stem found twice (some archives
    nest a second copy) counts once. Raises NoDataError, with `no_data` about {folder}, when there is no clip at all.
    """
    import pandas as pd

    rows = {}
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        subfolders.sort()
        for path in map(Path(parent).joinpath, sorted(files)):
            if path.suffix.lower() in CLIP_SUFFIXES and path.stem not in rows and (said := describe(path.stem)):
                rows[path.stem] = {"clip": path.stem, "path": str(path), **said}
    if not rows:
        raise NoDataError(no_data.format(folder=folder))
    return pd.DataFrame(rows.values()).sort_values("clip", ignore_index=True)


def has_speakers(clips: "pd.DataFrame | dict") -> bool:
    """Whether several are known, who can be kept apart."""
    return "speaker" in clips and len({*clips["speaker"]}) > 1
