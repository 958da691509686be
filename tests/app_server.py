"""app.py as a real process, for the tests of the page and of its answers to programs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psutil
import requests
import soundfile
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio

EVAL_DATA = REPOSITORY / "eval_data"
NAMES = ["bright_french.mp3", "deep_german.ogg", "even_male.flac", "fast_high_female.wav"]
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
LOG_SOCKETS = """
import os, sys
def note(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
        with open(os.environ["SOCKETS"], "a") as log:
            print(event, address, file=log)
sys.addaudithook(note)
"""


class Server:
    """app.py in a folder of its own, with a note of every address that it listens on, looks up or connects to.

    `errors` may hold nothing in the end, and the folder for temporary files must be empty then.
    """

    def __init__(self, folder: Path, *arguments: object, before: str = ""):
        """`before` is carried out in the process first."""
        self.folder, self.sockets, self.errors = folder / "folder", folder / "sockets", folder / "errors"
        self.folder.mkdir()
        (folder / "sitecustomize.py").write_text(LOG_SOCKETS + before)
        environment = {"TMPDIR": str(self.folder), "SOCKETS": str(self.sockets), "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, REPOSITORY / "app.py", "--port", "0", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=self.errors.open("w"),
            text=True,
        )
        self.url = self.process.stdout.readline().split()[1]
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0
        self.process.stdout.close()
        assert self.errors.read_text() == ""
        assert self.files() == []

    def files(self) -> list[Path]:
        """What lies in its folder for temporary files, but for a folder that torch makes when it trains."""
        return [path for path in self.folder.iterdir() if path.is_file() or any(path.iterdir())]

    def addresses(self) -> set[str]:
        return {line.split()[1] for line in self.sockets.read_text().splitlines()}

    def health(self) -> dict:
        return requests.get(f"{self.url}/health", timeout=60).json()

    def is_idle(self) -> bool:
        """Whether it, and whatever it started, uses next to no processor."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]

        def seconds() -> float:
            return sum(times.user + times.system for times in (process.cpu_times() for process in processes))

        before = seconds()
        time.sleep(0.5)
        return seconds() - before < 0.05

    def memory(self) -> int:
        """Bytes that it holds now."""
        return psutil.Process(self.process.pid).memory_info().rss

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def begin(self, n_bytes: int = 1000) -> socket.socket:
        """A client that sends the beginning of a form and falls silent."""
        client = self.connect()
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
        part = '--x\r\nContent-Disposition: form-data; name="files"; filename=".half"\r\n\r\n'
        client.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n{part}".encode() + bytes(n_bytes))
        return client

    def request(self, path: str, headers: dict[str, str], method: str = "GET") -> bytes:
        """A request with these headers."""
        lines = [f"{name}: {value}" for name, value in ({"Host": f"127.0.0.1:{self.port}"} | headers).items()]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).format(port=self.port).encode()

    def ask(self, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str, str]:
        """Status, head and body of the answer to a request with these headers."""
        with self.connect() as client:
            client.sendall(self.request(path, headers, method))
            answer = client.recv(10_000)
            while not answer.startswith(b"HTTP/1.1 101") and (more := client.recv(10_000)):  # until it is closed
                answer += more
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head, body

    def post(self, *uploads, headers: dict | None = None, to: str = "/predict", **fields) -> requests.Response:
        """`uploads` are paths, or names with their content."""
        named = [upload if isinstance(upload, tuple) else (upload.name, upload.read_bytes()) for upload in uploads]
        files = [("files", upload) for upload in named]
        return requests.post(self.url + to, files=files, data=fields, headers=headers, timeout=300)


def write_two_voices(path: Path) -> None:
    """A recording with a voice on each of its two channels, one after the other."""
    left, right = (load_audio(EVAL_DATA / name, 16_000).numpy() for name in ("even_male.flac", "fast_high_female.wav"))
    both = np.zeros((len(left) + len(right), 2), np.float32)
    both[: len(left), 0], both[len(left) :, 1] = left, right
    soundfile.write(path, both, 16_000)


def agree(rows: Iterable[dict], table: Iterable[dict[str, str]]) -> bool:
    """Whether these are the rows of a table; batches of other sizes may round the last digit the other way."""
    return all(
        abs(value - float(of_table[key])) < 0.00015 if isinstance(value, float) else (value or "") == of_table[key]
        for row, of_table in zip(rows, table, strict=True)
        for key, value in (dict.fromkeys(of_table) | row).items()
    )
