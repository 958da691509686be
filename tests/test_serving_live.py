"""Live recordings over a WebSocket, with ordinary and hostile clients: a real server process, real sockets."""

import asyncio
import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, Server, post, wait_until
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from speech_emotion.inference.live import LiveRecording
from speech_emotion.inference.predictor import Predictor
from speech_emotion.serving.limits import Limits
from speech_emotion.serving.live import Beginning, _Session
from speech_emotion.serving.turns import Turns

RATE = 16_000
TOKEN = "s3cret-é"
BEGINNING = {"sample_rate": RATE, "token": TOKEN, "model": "model.pt"}
MINUTES, TIMEOUT, AT_ONCE = 1, 3, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model_any_voice.pt", "--model", REPOSITORY / "model.pt")
    limits = ("--max-minutes", MINUTES, "--timeout", TIMEOUT, "--live", AT_ONCE, "--token", TOKEN)
    with Server(tmp_path_factory.mktemp("server"), *models, *limits) as server:
        yield server
        wait_until(lambda: n_live(server) == 0)
        assert server.recordings() == []
        assert server.addresses() == {"127.0.0.1"}


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """(samples,) of two speakers with a second between them, 16-bit."""
    voices = [load_audio(EVAL_DATA / name, RATE).numpy() for name in ("even_male.flac", "fast_high_female.wav")]
    return np.round(np.concatenate([voices[0], np.zeros(RATE), voices[1]]) * 32_767).astype("<i2")


def n_live(server: Server) -> int:
    return requests.get(f"{server.url}/health", timeout=60).json()["live"]


@contextmanager
def live(server: Server, first: dict | bytes | str | None = None, **options) -> Iterator[ClientConnection]:
    """A client that has begun a recording."""
    with connect(f"ws://127.0.0.1:{server.port}/live", close_timeout=1, **options) as client:
        first = BEGINNING if first is None else first
        client.send(json.dumps(first) if isinstance(first, dict) else first)
        yield client


def send(client: ClientConnection, samples: np.ndarray, piece_s: float = 0.1, pause_s: float = 0.0) -> list[dict]:
    """Send the sound in pieces; returns the answers received meanwhile."""
    length, found = round(piece_s * RATE), []
    for start in range(0, len(samples), length):
        client.send(samples[start : start + length].tobytes())
        time.sleep(pause_s)
        with suppress(TimeoutError):
            found.append(json.loads(client.recv(timeout=0)))
    return found


def rest(client: ClientConnection) -> list[dict]:
    """All messages until the server closes the connection."""
    found = []
    with suppress(ConnectionClosed):
        while True:
            found.append(json.loads(client.recv(timeout=120)))
    return found


@pytest.mark.parametrize("model", ["model.pt", "model_any_voice.pt"])
def test_the_final_rows_are_those_of_the_file(server, voice, tmp_path, model):
    """Sent in real time, for longer than a client may be silent."""
    soundfile.write(tmp_path / "live", voice, RATE, format="WAV")
    headers = {"Authorization": f"Bearer {TOKEN}".encode()}
    (row,) = post(server, tmp_path / "live", headers=headers, timeline="true", model=model).json()
    seconds = len(voice) / RATE
    with live(server, BEGINNING | {"model": model}) as client:
        found = send(client, voice, pause_s=0.1)
        assert server.recordings() == [] and n_live(server) == 1
        client.send('{"end": true}')
        *others, last = rest(client)
        assert client.close_code == 1000
    assert seconds > TIMEOUT and last == {"provisional": False, "heard": round(seconds, 4)} | row
    provisional = found + others
    assert len(provisional) > seconds and all(message["provisional"] for message in provisional)
    assert [message["heard"] for message in provisional] == sorted({message["heard"] for message in provisional})
    speaking = next(message for message in provisional if message["timeline"])
    assert not speaking["timeline"][0]["ended"]
    assert all(
        set(stretch) == set(row["timeline"][0]) | {"ended"}
        for message in provisional
        for stretch in message["timeline"]
    )


@pytest.mark.parametrize(
    "first, later, status, sentence",
    [
        (b"\0\0", None, 422, "begin with JSON"),
        ("hello", None, 422, "Invalid JSON"),
        ("[" * 100_000, None, 422, "Invalid JSON"),
        ("7", None, 422, "Input should be an object"),
        ({"token": TOKEN}, None, 422, "sample_rate: Field required"),
        (BEGINNING | {"sample_rate": 100}, None, 422, "sample_rate: Input should be greater than or equal to 8000"),
        (BEGINNING | {"sample_rate": 96_000}, None, 422, "sample_rate: Input should be less than or equal to 48000"),
        (BEGINNING | {"sample_rate": "16000"}, None, 422, "sample_rate: Input should be a valid integer"),
        (BEGINNING | {"x" * 1000: 1}, None, 422, f"{'x' * 100}: Extra inputs are not permitted"),
        (BEGINNING | {"model": "/etc/passwd"}, None, 422, "there is no model '/etc/passwd'; the models are "),
        (BEGINNING | {"adapt": True}, None, 422, "model.pt cannot adapt to recordings"),
        ({"sample_rate": RATE}, None, 401, "this server requires its token"),
        (BEGINNING | {"token": "wrong"}, None, 401, "this server requires its token"),
        (BEGINNING, b"123", 422, "an odd number of bytes; send 16-bit samples"),
        (BEGINNING, "stop", 422, "Invalid JSON"),
        (BEGINNING, '{"stop": true}', 422, "stop: Extra inputs are not permitted"),
        (BEGINNING, '{"adapt": true}', 422, "model.pt cannot adapt to recordings"),
        (BEGINNING, None, 408, f"nothing was received for {TIMEOUT} s"),
    ],
)
def test_an_invalid_recording_is_closed_with_a_sentence(server, first, later, status, sentence):
    with live(server, first) as client:
        if later:
            client.send(later)
        (refusal,) = rest(client)
        assert refusal["detail"].startswith(sentence) and client.close_code == 4000 + status


def test_a_message_that_is_too_large_ends_the_recording(server):
    with live(server) as client:
        client.send(bytes(2**20 + 2))
        assert rest(client) == [] and client.close_code == 1009


@pytest.mark.parametrize(
    "headers, is_fine",
    [
        ({"Origin": "http://127.0.0.1:{port}"}, True),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "https://127.0.0.1:{port}"}, False),
        ({"Origin": "null"}, False),
        ({"Host": "evil.example"}, False),
    ],
)
def test_foreign_pages_and_names_get_no_connection(server, headers, is_fine):
    """Browsers open a WebSocket without asking the server first (CORS)."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        usual = {"Host": f"127.0.0.1:{server.port}", "Upgrade": "websocket", "Connection": "Upgrade"}
        usual |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
        lines = [f"{name}: {value.format(port=server.port)}" for name, value in (usual | headers).items()]
        client.sendall("\r\n".join(["GET /live HTTP/1.1", *lines, "", ""]).encode())
        answer = client.recv(10_000).decode()
    assert answer.startswith("HTTP/1.1 101" if is_fine else "HTTP/1.1 403")
    assert "default-src 'none'" in answer and "access-control" not in answer.lower()
    assert is_fine or '{"detail":"this server does not answer ' in answer


def test_there_is_no_other_websocket(server):
    with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{server.port}/predict"):
        pass


def test_a_recording_ends_at_the_longest_duration(server, voice):
    content = np.resize(voice, 2 * 60 * MINUTES * RATE)
    with live(server) as client:
        with suppress(ConnectionClosed):  # it goes on after the server has left
            send(client, content, piece_s=10)
        *_, last = rest(client)
    assert not last["provisional"] and last["heard"] == 60 * MINUTES
    assert last["emotion"] and 50 < last["timeline"][-1]["end"] <= 60 * MINUTES


def test_sound_slower_than_real_time_ends_after_the_longest_duration(model):
    class Trickle:
        sent: ClassVar = []

        async def receive(self):
            await asyncio.sleep(0.05)
            return {"type": "websocket.receive", "bytes": bytes(2)}

        async def send_json(self, message):
            self.sent.append(message)
            raise WebSocketDisconnect

    turns = Turns()
    service = SimpleNamespace(limits=Limits(recording_minutes=0.01, silence_s=0.5), turns=turns)
    session = _Session(Trickle(), service, LiveRecording(Predictor(model, "cpu"), RATE), Beginning(sample_rate=RATE))
    try:
        with pytest.raises(WebSocketDisconnect):
            asyncio.run(asyncio.wait_for(session.run(), 20))
    finally:
        turns.stop()
    (last,) = Trickle.sent
    assert not last["provisional"] and last["heard"] < 0.1


def test_eight_recordings_are_answered_at_once_in_constant_memory_and_a_ninth_is_refused(server, voice):
    def record(number: int) -> list:
        with live(server) as client:
            send(client, voice[number * RATE // 10 :], piece_s=0.5)
            wait_until(lambda: client.send(b"") or n_live(server) == AT_ONCE)  # not silent for too long
            send(client, np.resize(voice, 30 * RATE), piece_s=0.5)
            client.send('{"end": true}')
            return rest(client)[-1]["timeline"]

    def round_of_eight() -> list:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            rows = [pool.submit(record, number) for number in range(AT_ONCE)]
            wait_until(lambda: n_live(server) == AT_ONCE)
            with live(server) as client:
                assert rest(client) == [{"detail": "too many live recordings at once; try again in a moment"}]
                assert client.close_code == 4503
            return [row.result() for row in rows]

    first, before = round_of_eight(), server.memory()
    assert round_of_eight() == first and all(first) and server.memory() < before + 30e6


def test_a_client_that_does_not_read_is_disconnected(server, voice):
    with live(server, max_queue=1) as client:  # its library reads no further ahead
        sent_s = 0.0
        with suppress(ConnectionClosed, OSError):
            while sent_s < 60 * MINUTES:
                client.send(voice[: RATE // 5].tobytes())
                sent_s += 0.2
                time.sleep(0.1)
        assert 1 < sent_s < 60 * MINUTES
        wait_until(lambda: n_live(server) == 0)


def test_work_is_cancelled_when_a_client_leaves(server, voice):
    with ExitStack() as stack:
        clients = [stack.enter_context(live(server)) for _ in range(3)]
        for client in clients:
            send(client, np.resize(voice, 50 * RATE), piece_s=5)
        clients[0].send('{"end": true}')
        for client in clients:
            client.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: n_live(server) == 0)
        wait_until(server.is_idle)


def test_the_example_in_the_documentation_streams_a_file(server, voice, tmp_path):
    soundfile.write(tmp_path / "talk.wav", voice[: 4 * RATE], RATE)
    text = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    block = next(block for block in text.split("\n\n    ") if block.startswith("import json, time, wave"))
    lines = text[text.index(block) :].partition('sep="\\n")')
    program = textwrap.dedent(f"    {lines[0]}{lines[1]}").replace("127.0.0.1:7860", f"127.0.0.1:{server.port}")
    program = program.replace('{"sample_rate":', f'{{"token": "{TOKEN}", "sample_rate":')
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) > 4 and [answer["provisional"] for answer in answers][-2:] == [True, False]
    assert answers[-1]["heard"] == 4 and answers[-1]["emotion"]
