"""Live recordings over a WebSocket, tokens and host names, with ordinary and hostile clients, at a real server."""

import json
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, UPGRADE, Server
from conftest import REPOSITORY, run_python, wait_until

from speech_emotion.audio.resampling import load_audio

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

HANG = """
import soundfile, time
read = soundfile.SoundFile.read
soundfile.SoundFile.read = lambda file, *args, **kw: time.sleep(300 * (file.channels == 3)) or read(file, *args, **kw)
"""
RATE = 16_000
TOKEN = "s3cret-é"
BEGINNING = {"sample_rate": RATE, "token": TOKEN, "model": "model.pt"}
PAGES = ["https://Page.example", "http://[::1]:8000"]  # origins
MINUTES, TIMEOUT, AT_ONCE, SOCKETS = 1, 3, 8, 100


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model_any_voice.pt", "--model", REPOSITORY / "model.pt")
    limits = ("--max-minutes", MINUTES, "--timeout", TIMEOUT, "--live", AT_ONCE)
    names = ("--token", TOKEN, "--allow-host", "Speech.example", *(part for page in PAGES for part in ("--cors", page)))
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


@pytest.mark.parametrize("model, emotions", [("model.pt", ["sad", "Anger", "happy"]), ("model_any_voice.pt", [])])
def test_the_final_rows_are_those_of_the_file(server, voice, tmp_path, model, emotions):
    """Sent in real time, for longer than a client may be silent."""
    soundfile.write(tmp_path / "live", voice, RATE, format="WAV")
    headers = {"Authorization": f"Bearer {TOKEN}".encode()}
    fields = {"model": model, "emotions": emotions}
    (row,) = server.post(tmp_path / "live", headers=headers, timeline="true", **fields).json()
    assert ("sad" in row) and ("calm" in row) == (not emotions)
    seconds = len(voice) / RATE
    with live(server, BEGINNING | fields) as client:
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


@pytest.mark.parametrize(
    "first, later, status, sentence",
    [
        ("hello", None, 422, "Invalid JSON"),
        ("[" * 100_000, None, 422, "Invalid JSON"),
        (BEGINNING | {"sample_rate": 100}, None, 422, "sample_rate: Input should be greater than or equal to 8000"),
        (BEGINNING | {"x" * 1000: 1}, None, 422, f"{'x' * 100}: Extra inputs are not permitted"),
        (BEGINNING | {"model": "/etc/passwd"}, None, 422, "there is no model '/etc/passwd'; the models are "),
        (BEGINNING | {"emotions": ["sad", "angrry"]}, None, 422, "this model does not have the emotion angrry"),
        (BEGINNING | {"adapt": True}, None, 422, "model.pt cannot adapt to recordings"),
        (BEGINNING | {"token": "wrong"}, None, 401, "this server requires its token"),
        (BEGINNING, '{"stop": true}', 422, "stop: Extra inputs are not permitted"),
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
    "path, headers, status, sentence",
    [
        ("/live", {"X-Long": 9000 * "x"}, 101, ""),
        ("/live", {"Content-Length": "5"}, 400, '{"detail":"the handshake of a WebSocket has no body"}'),
        ("/live", {"Transfer-Encoding": "chunked"}, 400, '{"detail":"the handshake of a WebSocket has no body"}'),
        ("/live", {"host": "localhost"}, 400, "Invalid HTTP request received."),  # a second one
        ("/live", {"Sec-WebSocket-Version": "7"}, 426, ""),
        ("/predict", {}, 404, '{"detail":"the only WebSocket is /live"}'),
    ],
)
def test_every_handshake_is_answered_and_a_bad_one_ended(server, path, headers, status, sentence):
    answered, head, body = server.ask(path, UPGRADE | headers)
    assert answered == status and body.startswith(sentence)
    assert "default-src 'none'" in head or not sentence.startswith(("{", "Invalid host"))


def test_there_are_only_so_many_websockets(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(SOCKETS + 10)]
        for client in clients:
            client.sendall(server.request("/live", UPGRADE))
        answers = [client.recv(10_000).decode().split()[1] for client in clients]
    assert sorted(answers) == ["101"] * SOCKETS + ["503"] * 10


@pytest.mark.parametrize("n_pings", [0, 500])
def test_a_client_that_does_not_read_takes_no_memory_and_is_disconnected(server, voice, n_pings):
    before, begun = server.memory(), time.monotonic()
    with live(server, max_queue=1) as client, suppress(OSError, ConnectionClosed):  # its library reads no further ahead
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while time.monotonic() < begun + 60 * MINUTES:
            client.send(voice[: RATE // 5].tobytes())
            client.socket.sendall(n_pings * (bytes([0x89, 0x80 | 125]) + bytes(4 + 125)))
            time.sleep(0.1)
    assert 1 < time.monotonic() - begun < 60 * MINUTES and server.memory() < before + 60e6
    wait_until(lambda: server.health()["live"] == 0)


def test_a_recording_ends_at_the_longest_duration(server, voice):
    content = np.resize(voice, 2 * 60 * MINUTES * RATE)
    with live(server) as client:
        with suppress(ConnectionClosed):  # it goes on after the server has left
            send(client, content, piece_s=10)
        *_, last = rest(client)
    assert not last["provisional"] and last["heard"] == 60 * MINUTES
    assert last["emotion"] and 50 < last["timeline"][-1]["end"] <= 60 * MINUTES


def test_eight_recordings_are_answered_at_once_and_the_work_for_those_who_leave_is_cancelled(server, voice):
    with ExitStack() as stack:
        clients = [stack.enter_context(live(server)) for _ in range(AT_ONCE)]
        wait_until(lambda: server.health()["live"] == AT_ONCE)
        with live(server) as client:
            assert rest(client) == [{"detail": "too many live recordings at once; try again in a moment"}]
            assert client.close_code == 4503
        for client in clients:
            send(client, np.resize(voice, 30 * RATE), piece_s=0.5)
            client.send('{"end": true}')
        for client in clients[::2]:
            client.socket.shutdown(socket.SHUT_RDWR)
        first, *others = [rest(client)[-1] for client in clients[1::2]]
        assert first["timeline"] and others == [first] * 3
        wait_until(lambda: server.health()["live"] == 0)
        wait_until(server.is_idle)


def test_a_token_is_required_and_another_host_name_is_allowed(server):
    for given in (None, "Bearer wrong", "Basic s3cret"):
        headers = {"Authorization": given} if given else {}
        for path in ("/predict", "/answers", "/teach"):
            answer = server.post(EVAL_DATA / NAMES[0], headers=headers, to=path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        for method, path in (("GET", "/progress?name=a"), ("GET", "/teach/a.pt"), ("DELETE", "/teach/a.pt")):
            assert requests.request(method, server.url + path, headers=headers, timeout=60).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}".encode(), "Host": "speech.example"}
    answer = server.post(EVAL_DATA / NAMES[0], headers=right | {"Origin": "https://speech.example"})
    assert answer.status_code == 200 and answer.json()[0]["emotion"]
    assert requests.get(f"{server.url}/settings", timeout=60).json()["needs_token"]
    with server.begin() as client:  # before any byte of a recording
        assert client.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_pages_of_chosen_origins_may_send_requests_with_the_token(server):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    local = {"Access-Control-Request-Private-Network": "true"}
    for origin in map(str.lower, PAGES):
        for path in ("/predict", "/teach", "/health", "/settings"):
            answer = requests.options(server.url + path, headers={"Origin": origin} | asked | local, timeout=60)
            assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == origin
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert "authorization" in answer.headers["access-control-allow-headers"]
            assert answer.headers["access-control-allow-private-network"] == "true"
        for status, token in ((200, TOKEN), (401, "wrong")):
            headers = {"Origin": origin, "Authorization": f"Bearer {token}".encode()}
            answer = server.post(EVAL_DATA / NAMES[0], headers=headers)
            assert answer.status_code == status and answer.headers["access-control-allow-origin"] == origin
        for path in ("/health", "/settings"):
            answer = requests.get(server.url + path, headers={"Origin": origin}, timeout=60)
            assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == origin
        assert server.ask("/live", UPGRADE | {"Origin": origin})[0] == 101
    for origin in ("https://page.example:444", "http://page.example", "https://other.page.example", "null"):
        answer = requests.options(f"{server.url}/predict", headers={"Origin": origin} | asked, timeout=60)
        assert answer.status_code == 403 and not [name for name in answer.headers if "access-control" in name.lower()]
        assert server.ask("/live", UPGRADE | {"Origin": origin})[0] == 403


def test_the_example_in_the_documentation_streams_a_file(server, voice, tmp_path):
    soundfile.write(tmp_path / "talk.wav", voice[: 4 * RATE], RATE)
    text = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    block = next(block for block in text.split("\n\n    ") if block.startswith("import json, time, wave"))
    lines = text[text.index(block) :].partition('sep="\\n")')
    program = textwrap.dedent(f"    {lines[0]}{lines[1]}").replace("127.0.0.1:7860", f"127.0.0.1:{server.port}")
    program = program.replace('{"sample_rate":', f'{{"token": "{TOKEN}", "sample_rate":')
    answers = [json.loads(line) for line in run_python(program, cwd=tmp_path).stdout.splitlines()]
    assert len(answers) > 4 and [answer["provisional"] for answer in answers][-2:] == [True, False]
    assert answers[-1]["heard"] == 4 and answers[-1]["emotion"]


@pytest.mark.skipif(not (REPOSITORY / "model_any_voice.pt").exists(), reason="there is no model for other voices here")
def test_long_work_stops_no_other_client_and_sigterm_stops_whatever_is_going_on(tmp_path):
    """Clients that are answered for minutes, a decoder that hangs, half a form, a live recording, a bad handshake."""
    noise = np.random.default_rng(0).integers(-8, 8, 599 * 8000).astype(np.int16) * 256  # a small FLAC
    soundfile.write(tmp_path / "long.flac", noise, 8000)
    soundfile.write(tmp_path / "hang.wav", np.zeros((1600, 3)), 16_000)
    long = ["-Fadapt=true", *[f"-Ffiles=@{tmp_path / 'long.flac'}"] * 12]
    with Server(tmp_path, before=HANG) as server, ExitStack() as stack:

        def begin(*form: str) -> subprocess.Popen:
            command = ["curl", "-s", *form, f"{server.url}/predict"]
            return stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))

        clients = [begin(*long), begin(*long[1:])]
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
        stack.enter_context(live(server))
        wait_until(lambda: server.health() | {"requests": 3, "live": 1} == server.health())
        assert server.files() == []  # what is uploaded has no name
        server.process.terminate()
        assert server.process.wait(10) == 0
