"""app.py as a real process, for the tests of the page and of its answers to programs."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
from conftest import REPOSITORY

COMMAND = [sys.executable, str(REPOSITORY / "app.py")]
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
    """app.py in a folder of its own, with a note of every address that it listens on, looks up or connects to."""

    def __init__(self, folder: Path, *arguments: object):
        self.folder, self.sockets, self.errors = folder / "folder", folder / "sockets", folder / "errors"
        self.folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(LOG_SOCKETS)
        environment = {"TMPDIR": str(self.folder), "SOCKETS": str(self.sockets), "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *map(str, arguments)],
            cwd=self.folder,
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

    def recordings(self) -> list[Path]:
        """What lies in its folder, but for the lock that says whose it is."""
        return [path for path in self.folder.rglob("*") if path.is_file() and path.name != ".owner"]

    def addresses(self) -> set[str]:
        return {line.split()[1] for line in self.sockets.read_text().splitlines()}

    def memory(self) -> int:
        """Bytes that it holds now."""
        return psutil.Process(self.process.pid).memory_info().rss


def run_app(*arguments, cwd: Path, before: str = "pass") -> subprocess.CompletedProcess:
    program = f"import sys; {before}; sys.path.insert(0, '.'); import app; sys.exit(app.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
