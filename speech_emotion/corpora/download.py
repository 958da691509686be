"""RAVDESS from Zenodo into data/: python -m speech_emotion.corpora.download."""

import argparse
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import pooch

from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import CHANNELS, clip_table, expected_clips

ZENODO = "https://zenodo.org/records/1188976/files/"
ARCHIVES = {  # by channel: name and MD5 sum
    "speech": ("Audio_Speech_Actors_01-24.zip", "bc696df654c87fed845eb13823edef8a"),
    "song": ("Audio_Song_Actors_01-24.zip", "5411230427d67a21e18aa4d466e6d1b9"),
}
SPACE = 1_000_000_000  # bytes for one archive and what is in it
TRIES = 5


class DownloadError(RuntimeError):
    """The data could not be fetched or is not what it should be; the message is one sentence."""


def download(data: Path, base_url: str = ZENODO, archives: dict = ARCHIVES, keep: bool = False) -> list[str]:
    """Fetch, check and unpack the channels that are incomplete under `data`; returns which those were.

    Clips that are already there stay as they are. Raises DownloadError when there is too little room, when an archive
    cannot be fetched, has a wrong MD5 sum, would write outside its folder, or lacks a clip.
    """
    present = _clips_under(data)
    missing = {channel: expected_clips(channel) - present for channel in CHANNELS}
    incomplete = [channel for channel in CHANNELS if missing[channel]]
    data.mkdir(parents=True, exist_ok=True)
    if incomplete and (free := shutil.disk_usage(data).free) < SPACE * len(incomplete):
        raise DownloadError(
            f"{data} has {free / 1e9:.1f} GB left, RAVDESS needs {SPACE * len(incomplete) / 1e9:.0f} GB"
        )
    for channel in incomplete:
        name, md5 = archives[channel]
        archive = _fetch(data, base_url, name, md5)
        _unpack(archive, data / f"{channel}_actors", missing[channel])
        if not keep:
            archive.unlink()
    return incomplete


def _clips_under(data: Path) -> set[str]:
    try:
        return set(clip_table(data)["clip"])
    except NoDataError:
        return set()


def _fetch(folder: Path, base_url: str, name: str, md5: str) -> Path:
    """The archive in `folder`, downloaded unless it is already there with the right sum; a broken try is repeated."""
    source = pooch.create(folder, base_url, registry={name: f"md5:{md5}"}, retry_if_failed=TRIES - 1)
    try:
        return Path(source.fetch(name, progressbar=True))
    except ValueError as error:
        raise DownloadError(f"{base_url}{name} is not the released archive: its MD5 sum is wrong") from error
    except OSError as error:  # all of requests' errors are
        raise DownloadError(f"cannot fetch {base_url}{name} after {TRIES} tries: {error}") from error


def _unpack(archive: Path, target: Path, wanted: set[str]) -> None:
    """Move the `wanted` clips of `archive` to `target`, all of them or none."""
    with zipfile.ZipFile(archive) as content, tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        root = Path(scratch).resolve()
        for member in content.namelist():
            if not (root / member).resolve().is_relative_to(root):
                raise DownloadError(f"{archive.name} would write outside its folder: {member}")
        clips = {Path(member).stem: member for member in content.namelist() if Path(member).stem in wanted}
        if lacking := sorted(wanted - set(clips)):
            raise DownloadError(f"{archive.name} lacks {len(lacking)} clips, {lacking[0]} among them")
        unpacked = {stem: Path(content.extract(member, root)) for stem, member in clips.items()}
        for stem, path in unpacked.items():
            actor = target / f"Actor_{stem[-2:]}"
            actor.mkdir(parents=True, exist_ok=True)
            path.replace(actor / path.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Download RAVDESS (speech and song) from Zenodo.")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER", help="(default: data)")
    parser.add_argument("--base-url", default=ZENODO, metavar="URL", help="a mirror of the two archives")
    parser.add_argument("--keep-archives", action="store_true", help="do not delete the archives when unpacked")
    options = parser.parse_args(arguments)
    try:
        fetched = download(options.data, options.base_url, keep=options.keep_archives)
    except (DownloadError, OSError, zipfile.BadZipFile) as error:
        print(f"download: {error}", file=sys.stderr)
        return 2
    print(f"RAVDESS is complete under {options.data}" + ("" if fetched else "; there was nothing to do"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
