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


def walk_clips(folder: str | Path, describe: Callable[[str], dict | None], no_data: str) -> "pd.DataFrame":
    """One row per clip below `folder`, at any depth, sorted by file stem: clip (the stem), path, and `describe(stem)`.

    `describe` returns None for a file that does not belong to the corpus. A stem found twice counts once (some archives
    contain a second copy). Raises NoDataError, with `no_data` as a template for {folder}, if there are no clips.
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
