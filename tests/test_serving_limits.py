"""How requests share the server, and how it ends."""

import asyncio
import gc
import json
import shutil
import subprocess
import threading
import weakref
from contextlib import ExitStack
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from app_server import EVAL_DATA, NAMES, Server, wait_until
from conftest import REPOSITORY

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from starlette.websockets import WebSocketDisconnect
from websockets.sync.client import connect

from speech_emotion.inference.live import LiveRecording
from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.guard import Limits
from speech_emotion.serving.live import Beginning, LiveSession
from speech_emotion.serving.service import Service

HANG = """
import soundfile, time
read = soundfile.SoundFile.read
soundfile.SoundFile.read = lambda file, *args, **kw: time.sleep(300 * (file.channels == 3)) or read(file, *args, **kw)
"""


def test_no_work_waits_for_another_and_cancelled_work_ends_at_its_next_yield():
    service = Service({}, Limits(requests=4, live=0))
    released, has_ended = threading.Event(), threading.Event()

    def work(is_released: threading.Event | None):
        try:
            while is_released and not is_released.is_set():
                yield
            return "done"
        finally:
            has_ended.set()

    async def run() -> None:
        stuck = [asyncio.ensure_future(service.run(work(released))) for _ in range(3)]
        assert await service.run(work(None)) == "done"
        has_ended.clear()
        stuck[0].cancel()
        await asyncio.to_thread(has_ended.wait, 60)
        assert not any(task.done() for task in stuck[1:])
        released.set()
        assert await asyncio.gather(*stuck, return_exceptions=True) != ["done"] * 3
        assert [task.result() for task in stuck[1:]] == ["done"] * 2

    asyncio.run(asyncio.wait_for(run(), 60))


def test_sound_slower_than_real_time_ends_after_the_longest_duration_and_is_forgotten(model):
    class Trickle:
        sent: ClassVar = []

        async def receive(self):
            await asyncio.sleep(0.05)
            return {"type": "websocket.receive", "bytes": bytes(2)}

        async def send_json(self, message):
            self.sent.append(message)
            raise WebSocketDisconnect

    service = Service({}, Limits(recording_minutes=0.01, silence_s=0.5))
    live = LiveRecording(Predictor(model, "cpu"), 16_000)
    session = LiveSession(Trickle(), service, live, Beginning(sample_rate=16_000))
    with pytest.raises(WebSocketDisconnect):
        asyncio.run(asyncio.wait_for(session.run(), 20))
    (last,) = Trickle.sent
    assert not last["provisional"] and last["heard"] < 0.1
    live, session = weakref.ref(live), None
    gc.collect()
    assert live() is None


@pytest.mark.skipif(not (REPOSITORY / "model_any_voice.pt").exists(), reason="there is no model for other voices here")
def test_adaptation_stops_no_other_client_and_sigterm_stops_whatever_is_going_on(tmp_path):
    """Two clients that adapt for minutes, a decoder that hangs, half a form, a live recording, a bad handshake."""
    noise = np.random.default_rng(0).integers(-8, 8, 599 * 8000).astype(np.int16) * 256  # a small FLAC
    soundfile.write(tmp_path / "long.flac", noise, 8000)
    soundfile.write(tmp_path / "hang.wav", np.zeros((1600, 3)), 16_000)
    long = ["-Fadapt=true", *[f"-Ffiles=@{tmp_path / 'long.flac'}"] * 12]
    with Server(tmp_path, before=HANG) as server, ExitStack() as stack:

        def begin(*form: str) -> subprocess.Popen:
            command = ["curl", "-s", *form, f"{server.url}/predict"]
            return stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))

        clients = [begin(*long) for _ in range(2)]
        wait_until(lambda: server.health()["requests"] == 2)
        assert server.post(EVAL_DATA / NAMES[0]).json()[0]["emotion"]
        assert all(client.poll() is None for client in clients)
        for client in clients:
            client.kill()
        wait_until(lambda: server.health()["requests"] == 0)
        wait_until(server.is_idle)

        begin(*long)
        begin(f"-Ffiles=@{tmp_path / 'hang.wav'}")
        stack.enter_context(server.begin(3_000_000))
        stack.enter_context(server.connect()).sendall(b"GET /live HTTP/1.1\r\nUpgrade: websocket\r\n")
        live = stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/live", close_timeout=1))
        live.send(json.dumps({"sample_rate": 16_000}))
        wait_until(lambda: server.health() | {"requests": 3, "live": 1} == server.health())
        assert server.files() == []  # what is uploaded has no name
        server.process.terminate()
        assert server.process.wait(10) == 0


def test_a_server_whose_temporary_folder_was_removed_says_so_and_recovers(tmp_path):
    with Server(tmp_path, "--model", REPOSITORY / "model.pt") as server:
        shutil.rmtree(server.folder)
        answer = server.post(EVAL_DATA / NAMES[0])
        assert answer.status_code == 507 and answer.json()["detail"].startswith("cannot store the recordings: ")
        server.folder.mkdir()
        assert server.post(EVAL_DATA / NAMES[0]).json()[0]["emotion"]
