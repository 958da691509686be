"""Folders as no one makes them on purpose."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import read_rows, run_eval, write_noise

from speech_emotion.audio.listing import find_recordings

DEPTH = 1900


def test_a_path_that_is_too_long_is_one_row(model, tmp_path):
    write_noise(tmp_path / "a.wav", 0)
    result = run_eval("a.wav", "x/" * 2500 + "b.wav", "--model", model, cwd=tmp_path)
    assert result.returncode == 1 and result.stderr.count("Traceback") == 0
    good, bad = read_rows(tmp_path / "out.csv")
    assert good["emotion"] and not bad["emotion"] and "File name too long" in bad["error"]


@pytest.mark.parametrize("name", ["d", "deeper"])
def test_folders_in_folders_of_any_depth_are_listed_or_one_row(tmp_path, name):
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(DEPTH):  # one step at a time, as the whole path is longer than a path may be
            os.mkdir(name)
            os.chdir(name)
        Path("a.wav").touch()
        (tmp_path / "b.wav").touch()
        first, last = find_recordings([tmp_path])[0]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", tmp_path / name], check=True)  # too deep for pytest
    assert first == str(tmp_path / "b.wav")
    is_whole = len(str(tmp_path)) + DEPTH * (len(name) + 1) < 4000
    assert os.path.basename(last) == ("a.wav" if is_whole else name)


def test_the_order_is_that_of_names_files_before_folders_each_once(tmp_path):
    for name in ("b/c/1.wav", "b/2.wav", "a/3.flac", "a.wav", "b/.hidden/4.wav", "b/notes.txt", "z.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "again").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    found, n_others = find_recordings([tmp_path, tmp_path / "a.wav"])
    names = ["a.wav", "z.mp3", "a/3.flac", "b/2.wav", "b/c/1.wav"]
    assert found == [str(tmp_path / name) for name in names] and n_others == 1
