"""What the server does when it is full, killed or asked by strangers, and how it shares its cores."""

import signal
import socket
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from string import Template
from types import SimpleNamespace

import pytest
import requests
from app_server import EVAL_DATA, NAMES, Server, begin, n_requests, post, wait_until
from conftest import REPOSITORY

pytest.importorskip("fastapi")

from speech_emotion.serving.answers import Answer
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.page import fill_page, render, write_lines
from speech_emotion.serving.turns import Turns


def test_turns_go_round_and_cancelled_work_ends_where_it_pauses():
    order = []

    def work(name: str, n: int):
        try:
            for _ in range(n):
                order.append(name)
                yield
            return name
        finally:
            order.append(f"end of {name}")

    turns = Turns(workers=1)
    started = threading.Event()
    turns.submit(started.wait(60) and None for _ in "1")  # until all are in line
    futures = [turns.submit(work(name, n)) for name, n in (("long", 3), ("short", 1), ("other", 1))]
    endless = turns.submit(work("endless", 10**9))
    started.set()
    assert [future.result(60) for future in futures] == ["long", "short", "other"]
    endless.cancel()
    wait_until(lambda: "end of endless" in order)
    with pytest.raises(CancelledError):
        endless.result(60)
    turns.stop()
    without = [name for name in order if "endless" not in name]
    assert without == ["long", "short", "other", "long", "end of short", "end of other", "long", "end of long"]


def test_a_full_queue_says_so_and_silent_clients_are_hung_up_on(tmp_path):
    with Server(tmp_path, "--queue", 1, "--timeout", 3) as server:
        half = begin(server)
        wait_until(lambda: n_requests(server) == 1)
        answer = post(server, EVAL_DATA / NAMES[0])
        assert answer.status_code == 503 and answer.json()["detail"].startswith("too many requests at once")
        assert int(answer.headers["retry-after"]) > 0
        assert b"408" in half.recv(1000)
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(200)]
        for client in silent[::2]:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: loc")
        for client in silent:
            with client, suppress(ConnectionResetError):
                assert client.recv(1000) == b""
        assert post(server, EVAL_DATA / NAMES[0]).status_code == 200
        assert server.recordings() == []


def test_what_a_killed_run_leaves_goes_at_the_next_start(tmp_path):
    with Server(tmp_path, "--model", REPOSITORY / "model.pt") as killed:
        client = begin(killed, 500_000)
        wait_until(killed.recordings)
        with Server(tmp_path, "--model", REPOSITORY / "model.pt") as beside:
            assert killed.recordings()  # who lives keeps what is its own
            killed.process.send_signal(signal.SIGKILL)
            killed.process.wait()
            client.close()
            assert beside.recordings()
        (tmp_path / "folder" / "speech-emotion-link").symlink_to(EVAL_DATA)
        with Server(tmp_path, "--model", REPOSITORY / "model.pt") as after:
            (tmp_path / "folder" / "speech-emotion-link").unlink()
            assert after.recordings() == [] and len(list(after.folder.iterdir())) == 1
    assert list(after.folder.iterdir()) == [] and list(EVAL_DATA.iterdir())


def test_a_token_is_asked_for_and_another_name_is_allowed(tmp_path):
    arguments = ("--token", "s3cret-é", "--allow-host", "Speech.example", "--model", REPOSITORY / "model.pt")
    with Server(tmp_path, *arguments) as server:
        for given, status in ((None, 401), ("Bearer wrong", 401), ("Basic s3cret", 401)):
            answer = post(server, EVAL_DATA / NAMES[0], headers={"Authorization": given} if given else {})
            assert answer.status_code == status and answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer s3cret-é".encode(), "Host": "speech.example"}
        answer = post(server, EVAL_DATA / NAMES[0], headers=right | {"Origin": "https://speech.example"})
        assert answer.status_code == 200 and answer.json()[0]["emotion"]
        page = requests.get(server.url, timeout=60).text
        assert '<label>Token <input id="token"' in page


def test_nothing_of_a_checkpoint_or_a_client_is_html():
    name = "<script>alert(1)</script>"
    row = {"url": name, "emotion": name, "confidence": 1.0, name: 1.0, "error": ""}
    window = {"start": 0.0, "end": 1.0, "emotion": name, "confidence": 1.0, name: 1.0}
    assert "<script" not in render(EVAL_DATA / NAMES[0], Answer(row, [window]))
    assert "<script" not in render(EVAL_DATA / NAMES[0], Answer(row | {"error": name}))
    predictor = SimpleNamespace(network=SimpleNamespace(takes_statistics=True))
    assert "<script" not in fill_page(Template("$models $token"), {name: predictor}, Limits(), None)
    lines = write_lines([row | {"url": '=1\r\n"', "emotion": "sad", name: 1.0}], [name])
    assert len(lines) == 2 and lines[1].startswith('"\'=1  """')
