"""The HTTP API with ordinary and hostile clients: a real server process, real sockets."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, Server, agree, wait_until
from conftest import REPOSITORY, read_rows, run_eval

from speech_emotion.audio.resampling import load_audio

pytest.importorskip("fastapi")

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
TIMEOUT, QUEUE = 5, 16


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model.pt", "--model", REPOSITORY / "model_sad_removed.pt")
    limits = ("--max-mb", 20, "--queue", QUEUE, "--timeout", TIMEOUT)
    with Server(tmp_path_factory.mktemp("server"), *limits, *models) as server:
        yield server
        assert {line.split()[0] for line in server.sockets.read_text().splitlines()} == {"socket.bind"}


@pytest.fixture(scope="module")
def rows_of_eval(tmp_path_factory) -> dict[str, dict]:
    """What eval.py writes for NAMES."""
    folder = tmp_path_factory.mktemp("eval")
    run_eval(*(EVAL_DATA / name for name in NAMES), cwd=folder)
    return {Path(row["url"]).name: row | {"url": Path(row["url"]).name} for row in read_rows(folder / "out.csv")}


def test_rows_are_those_of_eval_and_errors_are_rows(server, rows_of_eval):
    large = ("large.wav", bytes(20 * 2**20 + 1))
    broken = ("../../.broken\n.wav", b"this is not audio")
    answer = server.post(large, *(EVAL_DATA / name for name in NAMES), broken)
    assert answer.status_code == 200
    first, *rows, last = answer.json()
    assert agree(rows, [rows_of_eval[name] for name in NAMES])
    assert first["error"] == "larger than 20 MB" and first["confidence"] is None and first["emotion"] == ""
    assert last["url"].endswith(".wav") and "cannot read" in last["error"] and str(server.folder) not in last["error"]


def test_timelines_and_channels_are_those_of_eval(server, tmp_path):
    left, right = (load_audio(EVAL_DATA / name, 16_000).numpy() for name in ("even_male.flac", "fast_high_female.wav"))
    both = np.zeros((len(left) + len(right), 2), np.float32)
    both[: len(left), 0], both[len(left) :, 1] = left, right
    two, many = tmp_path / "two.wav", tmp_path / "many.wav"
    soundfile.write(two, both, 16_000)
    soundfile.write(many, np.repeat(both[:, :1], 17, axis=1), 16_000)
    options = ("--model", REPOSITORY / "model_sad_removed.pt", "--speech-only", "--channels", "each")
    run_eval("two.wav", *options, "--timeline", "timeline.csv", cwd=tmp_path)
    tables = [read_rows(tmp_path / name) for name in ("out.csv", "timeline.csv")]
    answer = server.post(two, many, model="model_sad_removed.pt", channels="each", timeline="True")
    *rows, refused = answer.json()
    assert refused["error"] == "more than 16 channels" and refused["channel"] is None
    stretches = [stretch for row in rows for stretch in row.pop("timeline")]
    for found, table in zip((rows, stretches), tables, strict=True):
        assert agree([{"url": "two.wav"} | row | {"channel": str(row["channel"])} for row in found], table)
    (mixed,) = server.post(two, model="model.pt").json()
    assert "channel" not in mixed and "timeline" not in mixed


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"model": "/etc/passwd"}, "there is no model '/etc/passwd'; the models are "),
        ({"channels": "3"}, "channels: Input should be 'mix' or 'each'"),
        ({"channels": "Each"}, "channels: Input should be 'mix' or 'each'"),
        ({"timeline": "perhaps"}, "timeline: Input should be a valid boolean"),
        ({"timeline": "1"}, "timeline: Input should be a valid boolean"),
        ({"adapt": "true", "model": "model.pt"}, "model.pt cannot adapt to recordings"),
        ({"path": "http://localhost/a.wav"}, "path: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_field_is_refused_with_a_sentence(server, fields, sentence):
    answer = server.post(EVAL_DATA / NAMES[0], **fields)
    assert answer.status_code == 422 and answer.json()["detail"].startswith(sentence)


def test_paths_and_addresses_are_neither_opened_nor_fetched(server):
    for name in (str(EVAL_DATA / NAMES[0]), f"{server.url}/health", "http://example.org/a.wav"):
        answer = requests.post(f"{server.url}/predict", files={"files": (None, name)}, timeout=60)
        assert answer.status_code == 422 and "there is no recording in the form" in answer.json()["detail"]
        (row,) = server.post((name, f"#EXTM3U\n{name}\n".encode())).json()
        assert row["error"]
    for path in ("/static/../page.py", "/static/%2e%2e/page.py", "/static/docs/../../main.py", "//etc/passwd"):
        assert requests.get(server.url + path, timeout=60).status_code == 404


@pytest.mark.parametrize(
    "status, sentence, request_of",
    [
        (400, "Maximum number of files is 100", {"files": [("files", ("a.wav", b""))] * 101}),
        (400, "Maximum number of fields is 10", {"files": [("model", (None, "x"))] * 11}),
        (400, "Part exceeded maximum size of 1KB", {"files": {"model": (None, bytes(10 * 2**20))}}),
        (400, "Invalid multipart data", {"data": b"--y\r\n\r\n", "headers": FORM}),
        (400, "Missing boundary", {"headers": {"Content-Type": "multipart/form-data"}}),
        (413, "Content Too Large", {"headers": FORM | {"Content-Length": str(1001 * 2**20)}}),
        (422, "no recording in the form", {"data": b"", "headers": {"Content-Type": "text/plain"}}),
        (422, "no recording in the form", {"data": {"model": "model.pt"}}),
    ],
)
def test_an_invalid_form_is_refused_with_a_sentence(server, status, sentence, request_of):
    answer = requests.post(f"{server.url}/predict", **request_of, timeout=60)
    assert answer.status_code == status and sentence in answer.text


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "evil.example"}, 400),
        ({"Host": "localhost.evil.example"}, 400),
        ({"Host": "[::1"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "localhost", "Origin": "ftp://localhost"}, 403),
        ({"Host": "localhost", "Origin": "https://localhost"}, 403),
        ({"Host": "[::1]:1", "Origin": "https://[::1]:1"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_foreign_hosts_and_origins_are_refused(server, headers, status):
    answer = requests.get(f"{server.url}/health", headers=headers, timeout=60)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_is_not_http_is_answered_and_its_connection_closed(server):
    assert server.ask(["\x16\x03\x01 nonsense"]).startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\t", '"', "\r", "\n"])
def test_a_name_with_any_sign_is_that_of_its_row(server, sign):
    """Clients replace the last three of them, as WHATWG's HTML standard says."""
    answer = server.post((f"a{sign}b.wav", b""), ("good.mp3", (EVAL_DATA / NAMES[0]).read_bytes()), to="/answers")
    first, second = answer.json()["rows"]
    assert f"a{sign}b.wav: " in first["html"].replace("&#34;", '"').replace("</bdi>", "")
    assert not second["error"] and second["csv"].startswith("good.mp3,")


def test_a_small_file_of_many_hours_is_refused(server, tmp_path):
    soundfile.write(tmp_path / "hours.flac", np.zeros(4 * 3600 * 4000, np.int16), 4000)
    (row,) = server.post(tmp_path / "hours.flac").json()
    assert row["error"] == "longer than 10 min"


def test_a_long_recording_blocks_no_other_and_is_cancelled_when_its_client_leaves(server, tmp_path):
    voice = load_audio(EVAL_DATA / "even_male.flac", 8000).numpy()
    soundfile.write(tmp_path / "long.wav", np.resize(voice, 9 * 60 * 8000), 8000)
    command = ["curl", "-s", "-F", f"files=@{tmp_path / 'long.wav'}", f"{server.url}/predict"]
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    wait_until(lambda: server.health()["requests"] == 3)
    (row,) = server.post(EVAL_DATA / NAMES[0]).json()
    assert row["emotion"] and all(client.poll() is None for client in clients)
    for client in clients[1:]:
        client.kill()
        client.wait()
    wait_until(lambda: server.health()["requests"] <= 1)
    assert clients[0].wait(60) == 0
    wait_until(server.is_idle)


def test_many_clients_with_equal_and_other_recordings(server, rows_of_eval):
    """160 requests from eight clients, some interrupted: correct answers, constant memory, an empty folder."""

    def client(number: int, n: int) -> None:
        for i, name in enumerate(islice(cycle(NAMES), number % 2, number % 2 + n)):
            if i % 5 == 3:
                server.begin().close()
            (row,) = server.post(EVAL_DATA / name).json()
            assert agree([row], [rows_of_eval[name]])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8), [8] * 8))
        before, n_descriptors = server.memory(), server.n_descriptors()
        list(pool.map(client, range(8), [12] * 8))
    assert server.memory() < before + 50e6 and server.n_descriptors() < n_descriptors + 5
    wait_until(lambda: server.health()["requests"] == 0)
    assert server.files() == []


def test_a_full_queue_is_reported_and_silent_clients_are_disconnected(server):
    half = [server.begin() for _ in range(QUEUE)]
    wait_until(lambda: server.health()["requests"] == QUEUE)
    answer = server.post(EVAL_DATA / NAMES[0])
    assert answer.status_code == 503 and answer.json()["detail"].startswith("too many requests at once")
    assert int(answer.headers["retry-after"]) > 0
    silent = [server.connect() for _ in range(200)]
    for client in silent[::2]:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: loc")
    for client in half:
        with client:
            assert b"408" in client.recv(1000)
    for client in silent:
        with client, suppress(ConnectionResetError):
            assert client.recv(1000) == b""
    assert server.post(EVAL_DATA / NAMES[0]).status_code == 200


def test_the_server_matches_its_openapi_description(server):
    """Schemathesis sends valid and invalid requests, generated from the server's own OpenAPI description."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = ["--max-examples=25", "--phases=examples,coverage,fuzzing", "--seed=1", "--no-color", "--checks=all"]
    cwd = server.folder.parent
    result = subprocess.run([*command, *options], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    description = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    assert set(description["paths"]) == {"/predict", "/health"}
    page = requests.get(f"{server.url}/docs", timeout=60).text
    assert "//" not in page  # needs no other server
