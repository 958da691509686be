"""The HTTP API with ordinary and hostile clients: a real server process, real sockets."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, NAMES, Server, agree, begin, n_requests, post, wait_until
from conftest import REPOSITORY, read_rows, run_eval

from speech_emotion.audio.resampling import load_audio

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = ("--model", REPOSITORY / "model.pt", "--model", REPOSITORY / "model_sad_removed.pt")
    with Server(tmp_path_factory.mktemp("server"), "--max-mb", 20, "--queue", 16, *models) as server:
        yield server
        assert server.recordings() == []
        assert {line.split()[0] for line in server.sockets.read_text().splitlines()} == {"socket.bind"}
    assert list(server.folder.iterdir()) == []


@pytest.fixture(scope="module")
def rows_of_eval(tmp_path_factory) -> dict[str, dict]:
    """What eval.py writes for NAMES."""
    folder = tmp_path_factory.mktemp("eval")
    run_eval(*(EVAL_DATA / name for name in NAMES), cwd=folder)
    return {Path(row["url"]).name: row | {"url": Path(row["url"]).name} for row in read_rows(folder / "out.csv")}


def test_rows_are_those_of_eval_and_errors_are_rows(server, rows_of_eval):
    large = ("large.wav", bytes(20 * 2**20 + 1))
    broken = ("../../.broken\n.wav", b"this is not audio")
    answer = post(server, large, *(EVAL_DATA / name for name in NAMES), broken)
    assert answer.status_code == 200
    first, *rows, last = answer.json()
    assert agree(rows, [rows_of_eval[name] for name in NAMES])
    assert first["error"] == "larger than 20 MB" and first["confidence"] is None and first["emotion"] == ""
    assert last["url"].endswith(".wav") and "cannot read" in last["error"] and str(server.folder) not in last["error"]


def test_the_timeline_has_the_windows_of_eval(server, tmp_path):
    voices = [load_audio(EVAL_DATA / name, 16_000) for name in NAMES]
    soundfile.write(tmp_path / "long.wav", np.concatenate(voices), 16_000)
    options = ("--model", REPOSITORY / "model_sad_removed.pt", "--speech-only", "--timeline", "timeline.csv")
    run_eval("long.wav", *options, cwd=tmp_path)
    (row,) = post(server, tmp_path / "long.wav", timeline="true", model="model_sad_removed.pt").json()
    windows = [{"url": "long.wav", **window} for window in row["timeline"]]
    assert agree(windows, read_rows(tmp_path / "timeline.csv")) and len(windows) > 1


def test_each_channel_has_a_row_if_requested(server, tmp_path):
    left, right = (load_audio(EVAL_DATA / name, 16_000).numpy() for name in ("even_male.flac", "fast_high_female.wav"))
    both = np.zeros((len(left) + len(right), 2), np.float32)
    both[: len(left), 0], both[len(left) :, 1] = left, right
    soundfile.write(tmp_path / "two.wav", both, 16_000)
    soundfile.write(tmp_path / "many.wav", np.repeat(both[:, :1], 17, axis=1), 16_000)
    run_eval("two.wav", "--channels", "each", "--model", REPOSITORY / "model.pt", cwd=tmp_path)
    *rows, many = post(
        server, tmp_path / "two.wav", tmp_path / "many.wav", model="model.pt", channels="each", timeline="true"
    ).json()
    assert many["error"] == "more than 16 channels" and many["channel"] is None
    for channel, row in enumerate(rows, 1):
        assert row["timeline"] and {stretch["channel"] for stretch in row.pop("timeline")} == {channel}
    assert agree([row | {"channel": str(row["channel"])} for row in rows], read_rows(tmp_path / "out.csv"))
    (mixed,) = post(server, tmp_path / "two.wav", model="model.pt").json()
    assert "channel" not in mixed


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"model": "/etc/passwd"}, "there is no model '/etc/passwd'; the models are "),
        ({"channels": "3"}, "`channels` must be mix or each, not '3'"),
        ({"channels": "Each"}, "`channels` must be mix or each, not 'Each'"),
        ({"timeline": "perhaps"}, "`timeline` must be true or false, not 'perhaps'"),
        ({"adapt": "true", "model": "model.pt"}, "model.pt cannot adapt to recordings"),
        ({"path": "http://localhost/a.wav"}, "there is no field 'path'"),
    ],
)
def test_an_invalid_field_is_refused_with_a_sentence(server, fields, sentence):
    answer = post(server, EVAL_DATA / NAMES[0], **fields)
    assert answer.status_code == 422 and answer.json()["detail"].startswith(sentence)


def test_paths_and_addresses_are_neither_opened_nor_fetched(server):
    for name in (str(EVAL_DATA / NAMES[0]), f"{server.url}/health", "http://example.org/a.wav"):
        answer = requests.post(f"{server.url}/predict", files={"files": (None, name)}, timeout=60)
        assert answer.status_code == 422 and "there is no recording in the form" in answer.json()["detail"]
        (row,) = post(server, (name, f"#EXTM3U\n{name}\n".encode())).json()
        assert row["error"]
    for path in ("/static/../page.py", "/static/%2e%2e/page.py", "/static/docs/../../main.py", "//etc/passwd"):
        assert requests.get(server.url + path, timeout=60).status_code == 404


def test_forms_beyond_the_limits_are_refused_with_a_sentence(server):
    too_many = post(server, *[("a.wav", b"")] * 101)
    assert too_many.status_code == 413 and "at most 100 recordings" in too_many.json()["detail"]
    for field, size in (("model", 100 * 2**20), ("x" * 200_000, 1)):
        answer = requests.post(f"{server.url}/predict", files={field: (None, bytes(size))}, timeout=60)
        assert answer.status_code in (413, 422) and answer.json()["detail"]
    fields = {f"field{number}": "x" for number in range(11)}
    assert post(server, EVAL_DATA / NAMES[0], **fields).status_code == 422
    for headers, body in (
        ({"Content-Type": "text/plain"}, b""),
        ({"Content-Type": "multipart/form-data"}, b""),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--y\r\n\r\n"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n',
        ),
    ):
        answer = requests.post(f"{server.url}/predict", body, headers=headers, timeout=60)
        assert answer.status_code == 422 and answer.json()["detail"]
    assert server.recordings() == []


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1:9999"}, 403),
        ({"Host": "localhost", "Origin": "ftp://localhost"}, 403),
        ({"Host": "localhost", "Origin": "https://localhost"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:80"}, 200),
    ],
)
def test_foreign_hosts_and_origins_are_refused(server, headers, status):
    answer = requests.get(f"{server.url}/health", headers=headers, timeout=60)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_answer_to_invalid_http_has_the_same_headers(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(10_000), b""))
    usual = requests.get(f"{server.url}/health", timeout=60).headers
    said = dict(line.lower().split(b": ", 1) for line in answer.partition(b"\r\n\r\n")[0].splitlines()[1:])
    assert answer.startswith(b"HTTP/1.1 400") and b'{"detail":' in answer
    assert {name.decode() for name in said} | {"content-length"} == {name.lower() for name in usual} | {"connection"}


def test_a_file_name_full_of_line_breaks_does_not_affect_other_recordings(server):
    names = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\t", "good")
    files = [("files", (f"a{name}b.mp3", (EVAL_DATA / NAMES[0]).read_bytes())) for name in names]
    answer = requests.post(f"{server.url}/answers", files=files, timeout=300)
    assert answer.status_code == 200
    for name, row in zip(names, answer.json()["rows"], strict=True):
        assert not row["error"] and row["csv"].startswith(f"a{name}b.mp3,") and row["csv"].endswith(",\r\n")


def test_a_small_file_of_many_hours_is_refused(server, tmp_path):
    soundfile.write(tmp_path / "hours.flac", np.zeros(4 * 3600 * 4000, np.int16), 4000)
    (row,) = post(server, tmp_path / "hours.flac").json()
    assert row["error"] == "longer than 10 min"


def test_a_long_recording_blocks_no_other_and_is_cancelled_when_its_client_leaves(server, tmp_path):
    voice = load_audio(EVAL_DATA / "even_male.flac", 8000).numpy()
    soundfile.write(tmp_path / "long.wav", np.resize(voice, 9 * 60 * 8000), 8000)
    with ThreadPoolExecutor() as pool:
        long = [pool.submit(post, server, tmp_path / "long.wav") for _ in range(3)]
        wait_until(lambda: n_requests(server) == 3)
        (row,) = post(server, EVAL_DATA / NAMES[0]).json()
        assert row["emotion"] and not all(answer.done() for answer in long)
        assert [answer.result().json()[0]["error"] for answer in long] == [""] * 3
    leaving = subprocess.Popen(
        ["curl", "-s", "-F", f"files=@{tmp_path / 'long.wav'}", f"{server.url}/predict"], stdout=subprocess.DEVNULL
    )
    wait_until(lambda: n_requests(server) == 1)
    leaving.kill()
    leaving.wait()
    wait_until(lambda: n_requests(server) == 0)
    assert server.recordings() == []


def test_many_clients_with_equal_and_other_recordings(server, rows_of_eval):
    """300 requests from eight clients, some interrupted: correct answers, constant memory, an empty folder."""

    def client(number: int) -> int:
        memory = 0
        for i, name in enumerate(islice(cycle(NAMES), number % 2, number % 2 + 38)):
            if i % 10 == 3:
                begin(server).close()
            (row,) = post(server, EVAL_DATA / name).json()
            assert agree([row], [rows_of_eval[name]])
            if i == 10:
                memory = server.memory()
        return memory

    with ThreadPoolExecutor(8) as pool:
        before = max(pool.map(client, range(8)))
    assert server.memory() < before + 50e6
    wait_until(lambda: n_requests(server) == 0)
    assert server.recordings() == []


def test_the_server_matches_its_openapi_description(server):
    """Schemathesis sends valid and invalid requests, generated from the server's own OpenAPI description."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    options = ["--max-examples=25", "--phases=examples,coverage,fuzzing", "--seed=1", "--no-color", "--checks=all"]
    cwd = server.folder.parent
    result = subprocess.run([*command, *options], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


def test_the_api_description_refers_to_no_other_server(server):
    description = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    assert set(description["paths"]) == {"/predict", "/health"}
    page = requests.get(f"{server.url}/docs", timeout=60).text
    assert "http:" not in page and "https:" not in page and "//" not in page
