"""The download against a server on the loopback address that serves small archives, and fails on demand."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from speech_emotion.corpora import emodb
from speech_emotion.corpora.download import ARCHIVES, CORPORA, DownloadError, download
from speech_emotion.corpora.ravdess import expected_clips
from speech_emotion.locks import locked


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

    def archives(self) -> list:
        sums = [hashlib.md5(self.files[name]).hexdigest() for name in ("speech.zip", "song.zip")]
        return [
            replace(archive, name=name, md5=md5, base_url=self.url)
            for archive, name, md5 in zip(CORPORA["ravdess"], ("speech.zip", "song.zip"), sums, strict=True)
        ]


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
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # thousands of them take longer than the rest
    with Server({"speech.zip": archive("speech"), "song.zip": archive("song")}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    return partial(download, server.archives(), tmp_path / "data")


def clips(data) -> set[str]:
    return {path.stem for path in data.rglob("*.wav")}


def test_both_archives_are_fetched_once_and_removed(server, fetch, tmp_path):
    assert fetch() == ["speech_actors", "song_actors"]
    data = tmp_path / "data"
    assert clips(data / "speech_actors") == expected_clips("speech")
    assert clips(data / "song_actors") == expected_clips("song")
    assert {path.name for path in data.iterdir()} == {"speech_actors", "song_actors"}
    assert fetch() == []
    assert server.requests == ["speech.zip", "song.zip"]


def test_archives_are_kept_when_asked(fetch, tmp_path):
    fetch(keep=True)
    assert (tmp_path / "data" / ARCHIVES / "speech.zip").exists()


def test_a_connection_that_breaks_is_tried_again(server, fetch):
    server.broken = 2
    assert fetch() == ["speech_actors", "song_actors"]
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
        (archive("speech", without="03-01-08-02-02-02-24"), "holds 1439 clips of RAVDESS, not 1440"),
        (archive("speech", extra="../../climbed.wav"), "would write outside its folder"),
    ],
)
def test_a_wrong_archive_changes_nothing(server, tmp_path, speech, message):
    server.files["speech.zip"] = speech
    with pytest.raises(DownloadError, match=message):
        download(server.archives(), tmp_path / "data")
    assert not clips(tmp_path) and not (tmp_path / "climbed.wav").exists()


def test_a_wrong_sum_is_refused(server, tmp_path):
    archives = server.archives()
    server.files["speech.zip"] = archive("speech", extra="tampered.txt")
    with pytest.raises(DownloadError, match="MD5 sum is wrong"):
        download(archives, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.*"))


def test_a_server_that_is_not_there_is_one_sentence(server, fetch, tmp_path):
    server.broken = 100
    with pytest.raises(DownloadError, match="cannot download .*speech.zip after 5 attempts"):
        fetch()


def test_a_full_disk_is_said_before_the_work_starts(server, tmp_path):
    with pytest.raises(DownloadError, match="RAVDESS needs 2000000000"):
        download([replace(archive, space=1e9) for archive in server.archives()], tmp_path / "data")
    assert server.requests == []


def test_leftovers_of_killed_runs_are_removed_and_other_files_stay(fetch, tmp_path):
    data = tmp_path / "data"
    for leftover in ("tmpab12_xyz/Actor_01/03-01-01-01-01-01-01.wav", "tmpq1w2e3r4", f"{ARCHIVES}/tmp12345678"):
        (data / leftover).parent.mkdir(parents=True, exist_ok=True)
        (data / leftover).write_text("cut sh")
    own = data / "tmp_my_own" / "talk.wav"
    own.parent.mkdir()
    own.write_text("mine")
    assert fetch() == ["speech_actors", "song_actors"]
    assert {path.name for path in data.iterdir()} == {"speech_actors", "song_actors", "tmp_my_own"} and own.exists()
    assert (data / "speech_actors/Actor_01/03-01-01-01-01-01-01.wav").read_text() == "sound of 03-01-01-01-01-01-01"


STEMS = [
    f"{speaker}{text}{letter}a"
    for speaker in emodb.SPEAKERS
    for text in ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03")
    for letter in "WLEAFTN"
][: emodb.N_CLIPS]


def emodb_archive(folder: str = "wav", content=lambda stem: stem.encode() * 4000) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("erkennung.txt", "numbers")
        for stem in STEMS:
            archive.writestr(f"{folder}/{stem}.wav", content(stem))
    return file.getvalue()


def emodb_command(server, data, *options) -> list[str]:
    return [
        sys.executable,
        "-m",
        "speech_emotion",
        "download",
        "emodb",
        "--data",
        str(data),
        "--base-url",
        server.url,
        *options,
    ]


def test_a_second_download_is_told_who_is_at_it(server, tmp_path):
    with locked(tmp_path / ".download.lock", ""):
        result = subprocess.run(
            emodb_command(server, tmp_path), capture_output=True, text=True, check=False, timeout=60
        )
    assert (result.returncode, server.requests) == (2, [])
    assert result.stderr == (
        f"download: {tmp_path} is being filled by process {os.getpid()}; wait for it, or choose another path\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_killed_at_random_no_clip_is_ever_cut_short(server, tmp_path):
    """KILLS times in the middle of unpacking; each next run continues what the killed one left."""
    server.files["download.zip"] = emodb_archive()
    data, rng = tmp_path / "data", random.Random(0)
    goals = [0, *sorted(rng.sample(range(1, emodb.N_CLIPS), int(os.environ.get("KILLS", "4")) - 1))]
    for goal in goals:
        deadline = time.monotonic() + 120
        while True:
            process = subprocess.Popen(emodb_command(server, data), stderr=subprocess.DEVNULL)
            while process.poll() is None and (
                len(clips(data)) < goal or not (goal or list(data.glob(f"{ARCHIVES}/*")))
            ):
                assert time.monotonic() < deadline
            time.sleep(rng.uniform(0, 0.003))
            process.kill()
            assert process.wait() in (0, -signal.SIGKILL)
            assert {path.read_bytes() == path.stem.encode() * 4000 for path in data.rglob("*.wav")} <= {True}
            if len(clips(data)) < emodb.N_CLIPS:
                break
            shutil.rmtree(data)  # on a busy machine all was there before the kill: once more
    ended = subprocess.run(emodb_command(server, data), capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, f"EmoDB is complete under {data}\n")
    files = {path.relative_to(data).as_posix(): path for path in data.rglob("*") if path.is_file()}
    assert set(files) == {f"emodb/wav/{stem}.wav" for stem in STEMS}
    assert all(path.read_bytes() == path.stem.encode() * 4000 for path in files.values())


@pytest.mark.parametrize("damage", ["bytes", "end"])
def test_a_damaged_archive_without_a_sum_is_one_sentence_and_fetched_anew(server, tmp_path, damage):
    whole = emodb_archive()
    middle = len(whole) // 2
    broken = {"bytes": whole[:middle] + b"x" * 9 + whole[middle + 9 :], "end": whole[:middle]}[damage]
    data, archive = tmp_path / "data", replace(CORPORA["emodb"][0], base_url=server.url)
    server.files["download.zip"] = broken
    with pytest.raises(DownloadError, match="CRC|not a zip file"):
        download([archive], data)
    assert not list(data.glob(f"{ARCHIVES}/*")) and all(path.stat().st_size == 28000 for path in data.rglob("*.wav"))
    server.files["download.zip"] = whole
    assert download([archive], data) == ["emodb"] and clips(data) == set(STEMS)


def test_nemo_is_known_by_the_git_tree_of_its_clips(server, tmp_path):
    samples, data = tmp_path / "git" / "samples", tmp_path / "data"
    samples.mkdir(parents=True)
    for name in ("WR0_anger_2.wav", "WR0_anger_10.wav", "EB0_fear_1.wav"):
        (samples / name).write_text(f"sound of {name}")
    git = partial(subprocess.run, cwd=samples.parent, check=True, capture_output=True, text=True)
    git(["git", "init", "-q"])
    git(["git", "add", "."])
    tree = git(["git", "write-tree", "--prefix=samples/"]).stdout.strip()
    shutil.make_archive(str(tmp_path / "nemo"), "zip", tmp_path / "git", "samples")
    server.files["nemo.zip"] = (tmp_path / "nemo.zip").read_bytes()
    archive = replace(CORPORA["nemo"][0], base_url=server.url, name="nemo.zip", n_clips=3)
    with pytest.raises(DownloadError, match="does not hold the clips of nEMO that were published"):
        download([archive], data)
    assert not clips(data)
    assert download([replace(archive, tree=tree)], data) == ["nemo"] and len(clips(data / "nemo")) == 3
