"""The HTTP API with ordinary and hostile clients: a real server process, real sockets."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, UPGRADE, Server, agree, write_two_voices
from conftest import REPOSITORY, read_rows, run_eval, small_any_voice, wait_until

from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import FIXED

pytest.importorskip("fastapi")

from speech_emotion.serving.guard import Limits
from speech_emotion.serving.service import Service

FORM = {"Content-Type": "multipart/form-data; boundary=x"}
QUEUE = 16
EMOTIONS = ["neutral", "happy", "angry"]  # that the server answers by default


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model.pt", "--model", REPOSITORY / "model_sad_removed.pt")
    limits = ("--max-mb", 20, "--queue", QUEUE, "--emotions", *EMOTIONS)
    with Server(tmp_path_factory.mktemp("server"), *limits, *models) as server:
        yield server
        assert {line.split()[0] for line in server.sockets.read_text().splitlines()} == {"socket.bind"}


@pytest.fixture(scope="module")
def rows_of_eval(tmp_path_factory) -> dict[str, dict]:
    """What eval.py writes for NAMES."""
    folder = tmp_path_factory.mktemp("eval")
    paths = [EVAL_DATA / name for name in NAMES]
    run_eval(*paths, "--model", "model.pt", "--emotions", *EMOTIONS, cwd=folder)
    return {Path(row["url"]).name: row | {"url": Path(row["url"]).name} for row in read_rows(folder / "out.csv")}


def test_rows_are_those_of_eval_and_errors_are_rows(server, rows_of_eval, tmp_path):
    large = ("large.wav", bytes(20 * 2**20 + 1))
    broken = ("../../.broken\n.wav", b"this is not audio")
    hours = tmp_path / "hours.flac"
    soundfile.write(hours, np.zeros(4 * 3600 * 4000, np.int16), 4000)  # a small file
    answer = server.post(large, hours, *(EVAL_DATA / name for name in NAMES), broken)
    assert answer.status_code == 200
    first, second, *rows, last = answer.json()
    assert agree(rows, [rows_of_eval[name] for name in NAMES])
    assert first["error"] == "larger than 20 MB" and first["confidence"] is None and first["emotion"] == ""
    assert second["error"] == "longer than 10 min"
    assert last["url"].endswith(".wav") and "cannot read" in last["error"] and str(server.folder) not in last["error"]


def test_timelines_and_channels_are_those_of_eval(server, tmp_path):
    two, many = tmp_path / "two.wav", tmp_path / "many.wav"
    write_two_voices(two)
    soundfile.write(many, np.zeros((16_000, 17)), 16_000)
    options = ("--model", REPOSITORY / "model_sad_removed.pt", "--speech-only", "--channels", "each")
    run_eval("two.wav", *options, "--emotions", *EMOTIONS, "--timeline", "timeline.csv", cwd=tmp_path)
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
    "emotions, labels",
    [
        ([], EMOTIONS),
        (["sad", "Joy"], ["happy", "sad"]),
        (["calm, fear,sad"], ["calm", "sad", "fearful"]),
    ],
)
def test_only_the_emotions_that_can_occur_are_answered(server, emotions, labels):
    (row,) = server.post(EVAL_DATA / NAMES[0], emotions=emotions, timeline="true").json()
    for answer in (row, *row.pop("timeline")):
        assert [name for name in answer if name not in FIXED] == labels
        assert sum(answer[label] for label in labels) == pytest.approx(1, abs=1e-3)


def test_the_emotions_of_a_model_of_own_labels_may_contain_a_comma():
    service = Service({"own.pt": Predictor(small_any_voice(["cold, wet", "warm", "wet"]), speech_only=False)}, Limits())
    assert service.predictor("own.pt", False).labels == ["cold, wet", "warm", "wet"]
    assert service.predictor("own.pt", False, ["cold, wet", "warm"]).labels == ["cold, wet", "warm"]
    assert service.predictor("own.pt", False, ["warm, wet"]).labels == ["warm", "wet"]


def test_paths_and_addresses_are_neither_opened_nor_fetched(server):
    for name in (str(EVAL_DATA / NAMES[0]), f"{server.url}/health", "http://example.org/a.wav"):
        answer = requests.post(f"{server.url}/predict", files={"files": (None, name)}, timeout=60)
        assert answer.status_code == 422 and "there is no recording in the form" in answer.json()["detail"]
        (row,) = server.post((name, f"#EXTM3U\n{name}\n".encode())).json()
        assert row["error"]
    for path in ("/static/../api.py", "/static/%2e%2e/api.py", "/static/docs/../../main.py", "//etc/passwd"):
        assert requests.get(server.url + path, timeout=60).status_code == 404


def with_fields(**fields) -> dict:
    return {"files": {"files": ("a.wav", b"")}, "data": fields}


@pytest.mark.parametrize(
    "status, sentence, request_of",
    [
        (400, "Maximum number of files is 100", {"files": [("files", ("a.wav", b""))] * 101}),
        (400, "Maximum number of fields is 200", {"files": [("model", (None, "x"))] * 201}),
        (400, "Part exceeded maximum size of 1KB", {"files": {"model": (None, bytes(10 * 2**20))}}),
        (400, "Invalid multipart data", {"data": b"--y\r\n\r\n", "headers": FORM}),
        (413, "Content Too Large", {"headers": FORM | {"Content-Length": str(1001 * 2**20)}}),
        (422, "no recording in the form", {"data": {"model": "model.pt"}}),
        (422, "does not have the emotion angrry; did you mean angry?", with_fields(emotions="happy, angrry")),
        (422, "there is no model '/etc/passwd'; the models are ", with_fields(model="/etc/passwd")),
        (422, "channels: Input should be 'mix' or 'each'", with_fields(channels="3")),
        (422, "timeline: Input should be a valid boolean", with_fields(timeline="perhaps")),
        (422, "model.pt cannot adapt to recordings", with_fields(adapt="true", model="model.pt")),
        (422, "path: Extra inputs are not permitted", with_fields(path="http://localhost/a.wav")),
    ],
)
def test_an_invalid_form_is_refused_with_a_sentence(server, status, sentence, request_of):
    answer = requests.post(f"{server.url}/predict", **request_of, timeout=60)
    assert answer.status_code == status and sentence in answer.text


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "evil.example"}, 400),
        ({"Host": "[::1"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused(server, headers, status):
    """Browsers open a WebSocket without asking the server first (CORS)."""
    for path, others, success in (("/health", {"Connection": "close"}, 200), ("/live", UPGRADE, 101)):
        answered, head, _ = server.ask(path, others | headers)
        assert answered == (success if status == 200 else status)
        assert "access-control" not in head.lower()
        assert "default-src 'none'" in head or answered == 101


def test_what_is_not_http_is_answered_and_its_connection_closed(server):
    assert server.ask("\x16\x03\x01", {})[0] == 400


def test_many_clients_with_equal_and_other_recordings(server, rows_of_eval):
    """48 requests from eight clients, some interrupted: correct answers, constant memory, an empty folder."""

    def client(number: int, n: int) -> None:
        for i, name in enumerate(islice(cycle(NAMES), number % 2, number % 2 + n)):
            if i % 5 == 3:
                server.begin().close()
            (row,) = server.post(EVAL_DATA / name).json()
            assert agree([row], [rows_of_eval[name]])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8), [2] * 8))
        process = psutil.Process(server.process.pid)
        before, n_descriptors = server.memory(), process.num_fds()
        list(pool.map(client, range(8), [4] * 8))
    assert server.memory() < before + 50e6 and process.num_fds() < n_descriptors + 5
    wait_until(lambda: server.health()["requests"] == 0)
    assert server.files() == []


def test_a_full_queue_is_reported_and_silent_clients_take_no_place(server):
    with ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(200)]
        for client in silent[::2]:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: loc")
        half = [stack.enter_context(server.begin()) for _ in range(QUEUE)]
        wait_until(lambda: server.health()["requests"] == QUEUE)
        answer = server.post(EVAL_DATA / NAMES[0])
        assert answer.status_code == 503 and answer.json()["detail"].startswith("too many requests at once")
        assert int(answer.headers["retry-after"]) > 0
        half[0].close()
        wait_until(lambda: server.health()["requests"] < QUEUE)
        assert server.post(EVAL_DATA / NAMES[0]).status_code == 200


def test_the_server_matches_its_openapi_description(server):
    """Schemathesis sends valid and invalid requests, generated from the server's own OpenAPI description."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = ["--max-examples=15", "--phases=examples,coverage,fuzzing", "--seed=1", "--no-color", "--checks=all"]
    cwd = server.folder.parent
    result = subprocess.run([*command, *options], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    description = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    assert set(description["paths"]) == {"/predict", "/health"}
    page = requests.get(f"{server.url}/docs", timeout=60).text
    assert "//" not in page  # needs no other server
    assert "/live" in description["info"]["description"]


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/openapi.json", "/static/page.js"])
def test_head_answers_as_get_without_a_body(server, path):
    (status, head, body), (_, head_of_get, content) = (
        server.ask(path, {"Connection": "close"}, method) for method in ("HEAD", "GET")
    )
    assert status == 200 and body == "" and content
    assert all(line.startswith("date: ") for line in {*head.splitlines()} ^ {*head_of_get.splitlines()})


def test_a_server_whose_temporary_folder_was_removed_says_so_and_recovers(server):
    server.post(EVAL_DATA / NAMES[0])  # from now on it does not look for another folder
    server.folder.rmdir()
    answer = server.post(EVAL_DATA / NAMES[0])
    assert answer.status_code == 507 and answer.json()["detail"].startswith("cannot store the recordings: ")
    server.folder.mkdir()
    assert server.post(EVAL_DATA / NAMES[0]).json()[0]["emotion"]
