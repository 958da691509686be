"""The download against a server on the loopback address that serves small archives, and fails on demand."""

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from speech_emotion.commands import download as command
from speech_emotion.corpora.download import CORPORA, Archive, DownloadError, download
from speech_emotion.corpora.foreign import NEMO
from speech_emotion.outputs import locked

CLIPS = ("WR0_anger_2", "WR0_anger_10", "EB0_fear_1")


def content_of(clip: str) -> bytes:
    return clip.encode() * 100


def zipped(clips: Iterable[str] = CLIPS, **others: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for clip in clips:
            archive.writestr(f"nEMO-66de/samples/{clip}.wav", content_of(clip))
        for name in others.values():
            archive.writestr(name, "no clip")
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `body` under every name, or half of it to the first `n_broken` requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.requests, self.n_broken = zipped(readme="README.md"), [], 0

    def archive(self, checksum: str | None = None) -> Archive:
        url = f"http://127.0.0.1:{self.server_port}/nemo.zip"
        return Archive("nEMO", url, "nemo", NEMO.describe, len(CLIPS), space=0.001, checksum=checksum)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        is_broken = len(self.server.requests) <= self.server.n_broken
        self.wfile.write(self.server.body[: len(self.server.body) // 2] if is_broken else self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def check_complete(data: Path) -> None:
    files = {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert files == {f"nemo/samples/{clip}.wav": content_of(clip) for clip in CLIPS}


@pytest.mark.parametrize("n_broken", [0, 2])
def test_an_archive_is_fetched_once_and_removed(server, tmp_path, n_broken):
    server.n_broken = n_broken
    archive = server.archive(f"md5:{hashlib.md5(server.body).hexdigest()}")
    assert download((archive,), tmp_path / "data") == ["nemo"]
    check_complete(tmp_path / "data")
    assert download((archive,), tmp_path / "data") == []
    assert len(server.requests) == 1 + n_broken


def test_what_a_killed_run_left_is_removed_and_only_what_is_missing_is_added(server, tmp_path):
    own, left = tmp_path / "mine" / f"{CLIPS[0]}.wav", tmp_path / ".download" / "nemo.zip.unzip" / f"{CLIPS[1]}.wav"
    for path in (own, left, tmp_path / "nemo" / "samples" / f"{CLIPS[2]}.wav"):
        path.parent.mkdir(parents=True)
        path.write_bytes(content_of(path.stem) if path != left else b"cut sh")
    assert download((server.archive(),), tmp_path) == ["nemo"]
    assert own.exists() and not left.exists()
    own.rename(tmp_path / "nemo" / "samples" / own.name)
    own.parent.rmdir()
    check_complete(tmp_path)


@pytest.mark.parametrize(
    ("body", "checksum", "sentence"),
    [
        (zipped(CLIPS[:2]), None, "holds 2 clips of nEMO, not 3"),
        (zipped(), "md5:" + "0" * 32, "is not the published archive: its checksum is wrong"),
        (zipped().replace(content_of(CLIPS[1]), b"x" * len(content_of(CLIPS[1]))), None, "is damaged: Bad CRC-32"),
        (zipped()[:500], None, "is damaged: File is not a zip file"),
    ],
)
def test_a_wrong_archive_changes_nothing_and_is_fetched_anew(server, tmp_path, body, checksum, sentence):
    right, server.body = server.body, body
    with pytest.raises(DownloadError, match=rf"http.*/nemo.zip {sentence}"):
        download((server.archive(checksum),), tmp_path)
    assert not list(tmp_path.iterdir())
    server.body = right
    assert download((server.archive(),), tmp_path) == ["nemo"]
    check_complete(tmp_path)


def test_nothing_is_written_outside_the_folder(server, tmp_path):
    server.body = zipped(up="../../../climbed.wav", up_as_a_clip=f"../../../{CLIPS[0]}.wav")
    download((server.archive(),), tmp_path / "deep" / "data")
    assert [path.name for path in tmp_path.rglob("*.wav") if "nemo" not in path.parts] == []


def test_a_server_that_always_fails_is_one_sentence(server, tmp_path):
    server.n_broken = 100
    with pytest.raises(DownloadError, match="cannot download .*nemo.zip after 5 attempts"):
        download((server.archive(),), tmp_path)
    assert len(server.requests) == 5


def test_the_command_says_what_it_did_and_why_it_cannot(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(CORPORA, "nemo", (server.archive(),))
    arguments = ["nemo", "--data", str(tmp_path)]
    with locked(tmp_path / ".download.lock", ""):
        assert command.main(arguments) == 2
    error = f"download: {tmp_path} is being filled by process {os.getpid()}; wait for it, or choose another path\n"
    assert capsys.readouterr().err == error and server.requests == []
    for rest in ("", "; there was nothing to do"):
        assert command.main(arguments) == 0
        assert capsys.readouterr().out == f"nEMO is complete under {tmp_path}{rest}\n"
    check_complete(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1e8))
    assert command.main(["--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"download: {tmp_path} has 0.1 GB left, RAVDESS needs 2.0 GB\n"


def test_a_mirror_serves_the_same_name(server, tmp_path):
    archive = replace(server.archive(), url="http://publisher.invalid/files/nemo.zip")
    assert download((archive,), tmp_path, f"http://127.0.0.1:{server.server_port}/mirror") == ["nemo"]
    assert server.requests == ["/mirror/nemo.zip"]
