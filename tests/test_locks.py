"""A lock between processes: who holds it, and what stands in its way."""

import os
import resource

import pytest

from speech_emotion.locks import locked

WORK = "out.csv is being written"


@pytest.mark.parametrize("content", [None, ""])
def test_a_second_process_is_told_who_holds_the_lock(tmp_path, content):
    path, owner = tmp_path / "lock", "another process" if content == "" else f"process {os.getpid()}"
    with locked(path, WORK):
        if content is not None:  # its owner is about to write its number
            path.write_text(content)
        with pytest.raises(BlockingIOError) as error, locked(path, WORK):
            pass
        assert str(error.value) == f"{WORK} by {owner}; wait for it, or choose another path"
    assert not path.exists()
    with locked(path, WORK):
        assert path.exists()


def test_a_full_disk_leaves_no_lock_behind(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), locked(tmp_path / "lock", WORK):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
