"""The server when it is full, killed or used by strangers, and how requests share its cores."""

import signal
import socket
import subprocess
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, Server, begin, n_requests, post, run_app, wait_until
from conftest import REPOSITORY, small_any_voice, write_noise

pytest.importorskip("fastapi")

from speech_emotion.inference.live import at_once
from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.answers import Answer, Outline, answer_all
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.page import fill_page, render
from speech_emotion.serving.turns import Turns
from speech_emotion.serving.uploads import Upload


def test_work_takes_turns_and_cancelled_work_ends_at_its_next_yield():
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


def test_a_step_that_takes_too_long_does_not_block_others():
    turns, released = Turns(workers=1), threading.Event()

    def work(wait: bool):
        yield
        if wait:
            released.wait(60)
        yield
        return "done"

    stuck = [turns.submit(work(wait=True)) for _ in range(3)]
    assert turns.submit(work(wait=False)).result(60) == "done" and not any(future.done() for future in stuck)
    released.set()
    assert [future.result(60) for future in stuck] == ["done"] * 3
    assert turns.stop()


def test_stopping_does_not_wait_for_work_that_does_not_yield():
    turns, begun = Turns(workers=1), threading.Event()
    turns.submit((begun.set() or threading.Event().wait(300)) and None for _ in "1")
    begun.wait(60)
    assert not turns.stop(patience_s=0.1)


def test_adaptation_yields_after_a_few_windows(tmp_path):
    predictor = Predictor(small_any_voice(["calm", "sad"]))
    seen, embed = [], predictor.network.embed
    predictor.network.embed = lambda inputs: seen.append(len(inputs)) or embed(inputs)
    for name in "ab":
        write_noise(tmp_path / f"{name}.wav", ord(name), seconds=70)
    uploads = [Upload(name, tmp_path / f"{name}.wav") for name in "ab"]
    work, of_step = answer_all(predictor, uploads, Limits(), adapt=True), []
    with pytest.raises(StopIteration) as end:
        while True:
            seen.clear()
            next(work)
            of_step.append(sum(seen))
    assert max(of_step) <= 16 and 2 * 16 < sum(of_step) < 4 * 16  # each once
    assert all(answer.rows[0]["emotion"] for answer in end.value.value)


@pytest.mark.skipif(not (REPOSITORY / "model_any_voice.pt").exists(), reason="there is no model for other voices here")
def test_adaptation_takes_turns_and_ends_with_its_client_or_the_process(tmp_path):
    noise = np.random.default_rng(0).integers(-8, 8, 599 * 8000).astype(np.int16) * 256  # a small FLAC
    soundfile.write(tmp_path / "long.flac", noise, 8000)
    form = [f"-Ffiles=@{tmp_path / 'long.flac'}"] * 12
    with Server(tmp_path) as server:

        def begin_two() -> list[subprocess.Popen]:
            command = ["curl", "-s", "-Fadapt=true", *form, f"{server.url}/predict"]
            clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
            wait_until(lambda: n_requests(server) == 2 and len(server.recordings()) == 2 * len(form))
            return clients

        clients = begin_two()
        assert post(server, EVAL_DATA / NAMES[0]).json()[0]["emotion"]
        assert all(client.poll() is None for client in clients)
        for client in clients:
            client.kill()
            client.wait()
        wait_until(lambda: n_requests(server) == 0)
        wait_until(server.is_idle)
        clients = begin_two()
        server.process.terminate()
        assert server.process.wait(15) == 0
        for client in clients:
            client.wait()
    assert list(server.folder.iterdir()) == []


def test_a_decoder_that_hangs_does_not_keep_the_process(tmp_path):
    hang = "import time, soundfile\nsoundfile.SoundFile.read = lambda *_, **__: time.sleep(300)"
    with Server(tmp_path, "--model", REPOSITORY / "model.pt", before=hang) as server:
        client = subprocess.Popen(["curl", "-s", f"-Ffiles=@{EVAL_DATA / 'even_male.flac'}", f"{server.url}/predict"])
        wait_until(server.recordings)
        server.process.terminate()
        assert server.process.wait(15) == 0
        client.wait()
    assert list(server.folder.iterdir()) == []


def test_a_full_queue_is_reported_and_silent_clients_are_disconnected(tmp_path):
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


def test_leftovers_of_a_killed_run_are_deleted_at_the_next_start(tmp_path):
    with Server(tmp_path, "--model", REPOSITORY / "model.pt", "--timeout", "300") as killed:
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


def test_a_token_is_required_and_another_host_name_is_allowed(tmp_path):
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
        for path in ("docs", "openapi.json"):
            for given in (None, ("anyone", "wrong"), ("anyone", "s3cret-é".encode())):
                answer = requests.get(f"{server.url}/{path}", auth=given, timeout=60)
                assert answer.status_code == (200 if given and given[1] != "wrong" else 401)
                assert ("Speech emotion" in answer.text) == (answer.status_code == 200)


@pytest.mark.parametrize("token", ["", " ", "two words"])
def test_the_server_does_not_start_with_an_invalid_token(token, monkeypatch):
    monkeypatch.setenv("SPEECH_EMOTION_TOKEN", token)
    result = run_app("--port", "0", cwd=REPOSITORY)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.splitlines()[-1].endswith("the token (or $SPEECH_EMOTION_TOKEN) is empty or has spaces")


def test_text_from_checkpoints_and_clients_is_escaped():
    name = "<script>alert(1)</script>"
    row = {"url": name, "emotion": name, "confidence": 1.0, name: 1.0, "error": ""}
    stretch = {"start": 0.0, "end": 1.0, "emotion": name, "confidence": 1.0, name: 1.0}
    outline = Outline(np.zeros((1, 2, 100)), 1.0)
    for emotions in ((name,), (name, "x")):
        stretches = [stretch | {"emotion": emotion, "x": 0.0} for emotion in emotions]
        html = at_once(render(Answer([row | {"x": 0.0}], stretches), outline))
        assert "&lt;script" in html and "<script" not in html
    html = at_once(render(Answer([row | {"emotion": "", "error": name}]), Outline()))
    assert "&lt;script" in html and "<script" not in html
    predictor = SimpleNamespace(network=SimpleNamespace(takes_statistics=True))
    html = fill_page({name: predictor}, Limits(), None)
    assert html.count("&lt;script") == 2 and name not in html
