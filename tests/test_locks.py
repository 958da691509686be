"""A lock between processes: who holds it, and what stands in its way."""

import os
import resource
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from speech_emotion.locks import Busy, Lock

LOCK = "import sys; from speech_emotion.locks import Lock; Lock(sys.argv[1], 'out.csv is being written')"


@pytest.mark.parametrize(("content", "owner"), [(None, f"process {os.getpid()}"), ("", "another process")])
def test_a_second_process_is_told_who_holds_the_lock(tmp_path, content, owner):
    lock = Lock(tmp_path / "lock", "out.csv is being written")
    if content is not None:  # its owner is about to write its number
        lock.path.write_text(content)
    with pytest.raises(Busy) as error:
        Lock(tmp_path / "lock", "out.csv is being written")
    assert str(error.value) == f"out.csv is being written by {owner}; wait for it, or choose another path"
    lock.release()
    assert not lock.path.exists()
    Lock(tmp_path / "lock", "").release()


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [("/proc/self", "cannot write to the folder /proc/self: "), ("nowhere", "there is no folder nowhere")],
)
def test_a_folder_that_cannot_be_written_is_not_taken_for_a_lock(folder, sentence):
    with pytest.raises(OSError, match=sentence):
        Lock(f"{folder}/lock", "out.csv is being written")


def test_a_full_disk_leaves_no_lock_behind(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    command = [sys.executable, "-c", LOCK, tmp_path / "lock"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert "File too large" in result.stderr and not list(tmp_path.iterdir())
