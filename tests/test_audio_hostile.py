"""Hostile files affect only the process of the decoder, which ends with ours."""

import os
import re
import struct
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import run_python
from recordings import encode, encoded_noise, voice

from speech_emotion.audio import isolation
from speech_emotion.audio.reading import AudioError, read_pieces


def n_samples(path: Path) -> int:
    return sum(len(samples) for samples, _ in read_pieces(path))


def running() -> list[psutil.Process]:
    """The decoder processes of this one."""
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "speech_emotion.audio.isolation" in child.cmdline()]


def kill_decoders() -> None:
    killed = running()
    for decoder in killed:
        decoder.kill()
    while any(decoder.status() != psutil.STATUS_ZOMBIE for decoder in killed):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def m4a(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.m4a"
    encode(path, voice(90), "aac")
    return path


def test_a_file_that_asks_for_gigabytes_gets_less_than_one(tmp_path):
    """It declares 60 million samples in one chunk, for each of which FFmpeg makes an entry."""
    encode(tmp_path / "a.m4a", voice(1)[:160], "aac")
    content = bytearray((tmp_path / "a.m4a").read_bytes())
    struct.pack_into(">II", content, content.find(b"stsz") + 8, 1, 60_000_000)
    struct.pack_into(">I", content, content.find(b"stsc") + 16, 60_000_000)
    (tmp_path / "a.m4a").write_bytes(content)
    kill_decoders()
    with pytest.raises(AudioError, match="^cannot read: "):
        n_samples(tmp_path / "a.m4a")
    (decoder,) = running()
    status = Path(f"/proc/{decoder.pid}/status").read_text()
    assert 10_000 < int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 1_000_000, "its peak"


def test_a_decoder_that_hangs_is_one_error_and_the_next_file_is_read(tmp_path, m4a, monkeypatch):
    encode(tmp_path / "a.mkv", voice(), "aac")
    os.truncate(tmp_path / "a.mkv", 2**36)  # zeros that take no space, in which FFmpeg looks for more sound
    kill_decoders()
    monkeypatch.setattr(isolation, "PATIENCE_S", 2)
    with pytest.raises(AudioError, match="cannot read: FFmpeg found no sound in 2 s"):
        list(read_pieces(tmp_path / "a.mkv"))
    assert n_samples(m4a)
    kill_decoders()


def test_a_decoder_that_crashes_is_one_error_and_the_next_file_is_read(m4a):
    pieces = read_pieces(m4a)
    assert len(next(pieces)[0])
    kill_decoders()
    with pytest.raises(AudioError, match=r"^cannot read: FFmpeg crashed$"):
        list(pieces)
    assert n_samples(m4a)


def test_a_decoder_does_not_inherit_secrets(m4a, monkeypatch):
    kill_decoders()
    monkeypatch.setenv("SPEECH_EMOTION_TOKEN", "secret")
    assert n_samples(m4a)
    assert all("secret" not in decoder.environ().values() for decoder in running())


@pytest.mark.parametrize("half_read", [False, True])
@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), 9)"])
def test_the_process_ends_with_ours(m4a, end, half_read):
    code = f"""
import os, psutil, sys
from speech_emotion.audio.reading import read_pieces
pieces = read_pieces(sys.argv[1])
next(pieces) if {half_read} else list(pieces)
print(psutil.Process().children()[0].pid, flush=True)
{end}
"""
    pid = int(run_python(code, m4a).stdout)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_decoder_can_open_neither_a_file_nor_a_connection():
    code = """
import os, socket
from speech_emotion.audio.isolation import limit_resources
limit_resources(2**31)
with open(os.dup(0), "rb"):
    for attempt in (lambda: open("README.md"), socket.socket):
        try:
            print(attempt())
        except OSError as error:
            print(error.strerror)
"""
    assert run_python(code).stdout == "Too many open files\n" * 2


def test_nothing_that_a_library_prints_reaches_the_terminal(tmp_path, capfd):
    mp3 = bytearray(encoded_noise(4, format="MP3"))
    for position in range(500, len(mp3), 97):
        mp3[position] ^= 0xFF  # about which libmpg123 writes notes
    (tmp_path / "a.mp3").write_bytes(mp3)
    (tmp_path / "a.sds").write_bytes(b"\xf0\x7e\x00\x01" + np.random.default_rng(0).bytes(50_000))
    kill_decoders()
    for name in ("a.mp3", "a.sds"):
        with suppress(AudioError):
            n_samples(tmp_path / name)
    assert capfd.readouterr() == ("", "")
