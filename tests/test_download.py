"""The download against a server on the loopback address that serves small archives, and fails on demand."""

import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from speech_emotion.corpora import download as module
from speech_emotion.corpora.download import DownloadError, download
from speech_emotion.corpora.ravdess import expected_clips


def archive(channel: str, without: str = "", extra: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        for clip in sorted(expected_clips(channel) - {without}):
            content.writestr(f"Actor_{clip[-2:]}/{clip}.wav", f"sound of {clip}")
        if extra:
            content.writestr(extra, "extra")
    return file.getvalue()


class Server(ThreadingHTTPServer):
    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.broken = files, [], 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def archives(self) -> dict:
        names = {"speech": "speech.zip", "song": "song.zip"}
        return {channel: (name, hashlib.md5(self.files[name]).hexdigest()) for channel, name in names.items()}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        self.server.requests.append(name)
        body = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.broken > 0:  # hang up half-way
            self.server.broken -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with Server({"speech.zip": archive("speech"), "song.zip": archive("song")}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    return partial(download, tmp_path / "data", server.url, server.archives())


def clips(data) -> set[str]:
    return {path.stem for path in data.rglob("*.wav")}


def test_both_archives_are_fetched_once_and_removed(server, fetch, tmp_path):
    assert fetch() == ["speech", "song"]
    data = tmp_path / "data"
    assert clips(data / "speech_actors") == expected_clips("speech")
    assert clips(data / "song_actors") == expected_clips("song")
    assert {path.name for path in data.iterdir()} == {"speech_actors", "song_actors"}
    assert fetch() == []
    assert server.requests == ["speech.zip", "song.zip"]


def test_archives_are_kept_when_asked(fetch, tmp_path):
    fetch(keep=True)
    assert (tmp_path / "data" / "speech.zip").exists()


def test_a_connection_that_breaks_is_tried_again(server, fetch):
    server.broken = 2
    assert fetch() == ["speech", "song"]
    assert server.requests == ["speech.zip"] * 3 + ["song.zip"]


def test_only_what_is_missing_is_added_and_the_rest_stays(fetch, tmp_path):
    own = tmp_path / "data" / "mine" / "03-01-01-01-01-01-01.wav"
    own.parent.mkdir(parents=True)
    own.write_text("my own copy")
    fetch()
    assert own.read_text() == "my own copy"
    assert len(list((tmp_path / "data").rglob("03-01-01-01-01-01-01.wav"))) == 1


@pytest.mark.parametrize(
    ("speech", "message"),
    [
        (archive("speech", without="03-01-08-02-02-02-24"), "lacks 1 clips, 03-01-08-02-02-02-24 among them"),
        (archive("speech", extra="../../climbed.wav"), "would write outside its folder"),
    ],
)
def test_a_wrong_archive_changes_nothing(server, tmp_path, speech, message):
    server.files["speech.zip"] = speech
    with pytest.raises(DownloadError, match=message):
        download(tmp_path / "data", server.url, server.archives())
    assert not clips(tmp_path) and not (tmp_path / "climbed.wav").exists()


def test_a_wrong_sum_is_refused(server, tmp_path):
    archives = server.archives()
    server.files["speech.zip"] = archive("speech", extra="tampered.txt")
    with pytest.raises(DownloadError, match="MD5 sum is wrong"):
        download(tmp_path / "data", server.url, archives)
    assert not any((tmp_path / "data").iterdir())


def test_a_server_that_is_not_there_is_one_sentence(server, fetch, tmp_path):
    server.broken = 100
    with pytest.raises(DownloadError, match="cannot fetch .*speech.zip after 5 tries"):
        fetch()


def test_a_full_disk_is_said_before_the_work_starts(server, fetch, monkeypatch):
    monkeypatch.setattr(module, "SPACE", 10**18)
    with pytest.raises(DownloadError, match="RAVDESS needs"):
        fetch()
    assert server.requests == []
