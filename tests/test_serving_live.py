"""Live recordings over a WebSocket, tokens and host names, with ordinary and hostile clients, at a real server."""

import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, Server, wait_until
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

RATE = 16_000
TOKEN = "s3cret-é"
BEGINNING = {"sample_rate": RATE, "token": TOKEN, "model": "model.pt"}
MINUTES, TIMEOUT, AT_ONCE, SOCKETS = 1, 3, 8, 100
UPGRADE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model_any_voice.pt", "--model", REPOSITORY / "model.pt")
    limits = ("--max-minutes", MINUTES, "--timeout", TIMEOUT, "--live", AT_ONCE)
    names = ("--token", TOKEN, "--allow-host", "Speech.example")
    with Server(tmp_path_factory.mktemp("server"), *models, *limits, *names) as server:
        yield server
        wait_until(lambda: server.health()["live"] == 0)
        assert server.addresses() == {"127.0.0.1"}


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """(samples,) of two speakers with a second between them, 16-bit."""
    voices = [load_audio(EVAL_DATA / name, RATE).numpy() for name in ("even_male.flac", "fast_high_female.wav")]
    return np.round(np.concatenate([voices[0], np.zeros(RATE), voices[1]]) * 32_767).astype("<i2")


@contextmanager
def live(server: Server, first: dict | bytes | str | None = None, **options) -> Iterator[ClientConnection]:
    """A client that has begun a recording."""
    with connect(f"ws://127.0.0.1:{server.port}/live", close_timeout=1, **options) as client:
        first = BEGINNING if first is None else first
        client.send(json.dumps(first) if isinstance(first, dict) else first)
        yield client


def send(client: ClientConnection, samples: np.ndarray, piece_s: float = 0.1, pause_s: float = 0.0) -> list[dict]:
    """Send the sound in pieces with an odd number of bytes; returns the answers received meanwhile."""
    pcm, length, answers = samples.tobytes(), 2 * round(piece_s * RATE) + 1, []
    for start in range(0, len(pcm), length):
        client.send(pcm[start : start + length])
        time.sleep(pause_s)
        with suppress(TimeoutError):
            answers.append(json.loads(client.recv(timeout=0)))
    return answers


def rest(client: ClientConnection) -> list[dict]:
    """All messages until the server closes the connection."""
    answers = []
    with suppress(ConnectionClosed):
        while True:
            answers.append(json.loads(client.recv(timeout=120)))
    return answers


@pytest.mark.parametrize("model", ["model.pt", "model_any_voice.pt"])
def test_the_final_rows_are_those_of_the_file(server, voice, tmp_path, model):
    """Sent in real time, for longer than a client may be silent."""
    soundfile.write(tmp_path / "live", voice, RATE, format="WAV")
    headers = {"Authorization": f"Bearer {TOKEN}".encode()}
    (row,) = server.post(tmp_path / "live", headers=headers, timeline="true", model=model).json()
    seconds = len(voice) / RATE
    with live(server, BEGINNING | {"model": model}) as client:
        provisional = send(client, voice, pause_s=0.1)
        assert server.files() == [] and server.health()["live"] == 1
        client.send('{"end": true}')
        *others, last = rest(client)
        assert client.close_code == 1000
    assert seconds > TIMEOUT and last == {"provisional": False, "heard": round(seconds, 4)} | row
    provisional += others
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


@pytest.mark.parametrize("frame, code", [((2, bytes(2**20 + 2)), 1009), ((1, b"\xff"), 1006), ((3, b""), 1006)])
def test_a_message_that_is_too_large_or_not_valid_ends_the_recording(server, frame, code):
    opcode, content = frame
    with live(server) as client:
        length = bytes([0x80 | len(content)]) if len(content) < 126 else b"\xff" + len(content).to_bytes(8, "big")
        client.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + content)
        assert rest(client) == [] and client.close_code == code


@pytest.mark.parametrize(
    "path, lines, status, sentence",
    [
        ("/live", [], 101, ""),
        ("/live", ["Origin: http://127.0.0.1:{port}"], 101, ""),
        ("/live", ["X-Long: " + 9000 * "x"], 101, ""),
        ("/live", [f"X-Number-{number}: x" for number in range(200)], 101, ""),
        ("/live", ["Content-Length: 5"], 400, '{"detail":"the handshake of a WebSocket has no body"}'),
        ("/live", ["Transfer-Encoding: chunked"], 400, '{"detail":"the handshake of a WebSocket has no body"}'),
        ("/live", ["Host: localhost", "Host: localhost"], 400, "Invalid HTTP request received."),
        ("/live", ["Sec-WebSocket-Version: 7"], 426, ""),
        ("/live", ["Host: evil.example"], 400, "Invalid host header"),
        ("/live", ["Origin: http://127.0.0.1:1"], 403, '{"detail":"this server does not answer requests from pages'),
        ("/live", ["Origin: http://evil.example"], 403, '{"detail":"this server does not answer requests from pages'),
        ("/live", ["Origin: https://127.0.0.1:{port}"], 403, '{"detail":"this server does not answer requests from'),
        ("/live", ["Origin: null"], 403, '{"detail":"this server does not answer requests from pages of other sites"}'),
        ("/predict", [], 404, '{"detail":"the only WebSocket is /live"}'),
        ("/static/page.js", [], 404, '{"detail":"the only WebSocket is /live"}'),
    ],
)
def test_every_handshake_is_answered_and_a_bad_one_ended(server, path, lines, status, sentence):
    """Browsers open a WebSocket without asking the server first (CORS)."""
    names = {line.partition(":")[0] for line in lines}
    usual = [line for line in (f"Host: 127.0.0.1:{server.port}", *UPGRADE) if line.partition(":")[0] not in names]
    with server.connect() as client:
        request = [f"GET {path} HTTP/1.1", *usual, *(line.format(port=server.port) for line in lines), "", ""]
        client.sendall("\r\n".join(request).encode())
        answer = client.recv(10_000)
        while status != 101 and (more := client.recv(10_000)):  # until it is closed
            answer += more
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") and body.startswith(sentence)
    assert "access-control" not in head.lower()
    assert "default-src 'none'" in head or not sentence.startswith(("{", "Invalid host"))


def test_there_are_only_so_many_websockets(server):
    lines = ["GET /live HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *UPGRADE, "", ""]
    with ExitStack() as stack:
        answers = []
        for _ in range(SOCKETS + 10):
            client = stack.enter_context(server.connect())
            client.sendall("\r\n".join(lines).encode())
            answers.append(client.recv(10_000).decode().split()[1])
    assert answers == ["101"] * SOCKETS + ["503"] * 10


def test_a_client_that_pings_and_does_not_read_takes_no_memory(server):
    ping = bytes([0x89, 0x80 | 125]) + bytes(4 + 125)
    before = server.memory()
    with live(server, max_queue=1) as client, suppress(OSError):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            client.socket.sendall(500 * ping)
    assert server.memory() < before + 60e6
    wait_until(lambda: server.health()["live"] == 0)


def test_a_recording_ends_at_the_longest_duration(server, voice):
    content = np.resize(voice, 2 * 60 * MINUTES * RATE)
    with live(server) as client:
        with suppress(ConnectionClosed):  # it goes on after the server has left
            send(client, content, piece_s=10)
        *_, last = rest(client)
    assert not last["provisional"] and last["heard"] == 60 * MINUTES
    assert last["emotion"] and 50 < last["timeline"][-1]["end"] <= 60 * MINUTES


def test_eight_recordings_are_answered_at_once_and_a_ninth_is_refused(server, voice):
    def record(number: int) -> list:
        with live(server) as client:
            send(client, voice[number * RATE // 10 :], piece_s=0.5)
            wait_until(lambda: client.send(b"") or server.health()["live"] == AT_ONCE)  # not silent for too long
            send(client, np.resize(voice, 30 * RATE), piece_s=0.5)
            client.send('{"end": true}')
            return rest(client)[-1]["timeline"]

    def round_of_eight() -> list:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            rows = [pool.submit(record, number) for number in range(AT_ONCE)]
            wait_until(lambda: server.health()["live"] == AT_ONCE)
            with live(server) as client:
                assert rest(client) == [{"detail": "too many live recordings at once; try again in a moment"}]
                assert client.close_code == 4503
            return [row.result() for row in rows]

    first = round_of_eight()
    assert all(first) and round_of_eight() == first


def test_a_client_that_does_not_read_is_disconnected(server, voice):
    with live(server, max_queue=1) as client:  # its library reads no further ahead
        sent_s = 0.0
        with suppress(ConnectionClosed, OSError):
            while sent_s < 60 * MINUTES:
                client.send(voice[: RATE // 5].tobytes())
                sent_s += 0.2
                time.sleep(0.1)
        assert 1 < sent_s < 60 * MINUTES
        wait_until(lambda: server.health()["live"] == 0)


def test_work_is_cancelled_when_a_client_leaves(server, voice):
    with ExitStack() as stack:
        clients = [stack.enter_context(live(server)) for _ in range(3)]
        for client in clients:
            send(client, np.resize(voice, 50 * RATE), piece_s=5)
        clients[0].send('{"end": true}')
        for client in clients:
            client.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: server.health()["live"] == 0)
        wait_until(server.is_idle)


def test_a_token_is_required_and_another_host_name_is_allowed(server):
    for given in (None, "Bearer wrong", "Basic s3cret"):
        answer = server.post(EVAL_DATA / NAMES[0], headers={"Authorization": given} if given else {})
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": f"Bearer {TOKEN}".encode(), "Host": "speech.example"}
    answer = server.post(EVAL_DATA / NAMES[0], headers=right | {"Origin": "https://speech.example"})
    assert answer.status_code == 200 and answer.json()[0]["emotion"]
    assert '<label>Token <input id="token"' in requests.get(server.url, timeout=60).text


def test_a_token_is_required_before_any_byte_of_a_recording(server):
    with server.begin() as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 401 ")


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
