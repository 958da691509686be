"""The web page as its users see it: a real server, a real Chromium, real recordings.

SCREENSHOT=results/figures/app.png python3 -m pytest tests/test_app.py makes the picture of the README again.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, read_rows, run_eval

from speech_emotion.audio.listing import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.inference.predictor import Predictor

EVAL_DATA = REPOSITORY / "eval_data"
COMMAND = [sys.executable, str(REPOSITORY / "app.py")]
ANSWER = "a[download='out.csv']"
LOG_SOCKETS = """
import os, sys
def note(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
        with open(os.environ["SOCKETS"], "a") as log:
            print(event, address, file=log)
sys.addaudithook(note)
"""


class Server:
    """app.py in a folder of its own, with a note of every address that it listens on, looks up or connects to."""

    def __init__(self, folder: Path):
        self.folder, self.sockets = folder / "folder", folder / "sockets"
        self.folder.mkdir()
        (folder / "sitecustomize.py").write_text(LOG_SOCKETS)
        environment = {"TMPDIR": str(self.folder), "SOCKETS": str(self.sockets), "PYTHONPATH": str(folder)}
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--max-mb", "100"],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.process.stdout.readline().split()[1]

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio")
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert not list(server.folder.glob("speech-emotion-*"))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    speech = f"--use-file-for-fake-audio-capture={EVAL_DATA / 'fast_high_female.wav'}"
    with playwright.sync_playwright() as driver:
        # Chromium has no sandbox for root, who runs the tests in many containers.
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", speech]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(server, browser):
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(120_000)  # the machine may be busy
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(server.url)
    page.get_by_text("Click to Upload").wait_for()
    yield page
    page.close()
    assert not errors
    assert all(url.startswith((server.url, "data:", "blob:")) for url in requests)  # works offline, tells nobody


def drop(page, *paths) -> None:
    page.set_input_files("input[type=file]", paths)


def test_a_recording_gets_the_emotion_that_the_predictor_gives(page, server):
    path = EVAL_DATA / "bright_french.mp3"
    (expected,) = Predictor(REPOSITORY / "model.pt").predict([path])
    drop(page, path)
    card = page.locator(".recording")
    heading = f"bright_french.mp3: {expected['emotion']}, {expected['confidence']:.0%}"
    assert card.locator("summary").inner_text() == heading
    bars = [bar.split() for bar in card.locator("li").all_inner_texts()]
    assert bars == [[label, f"{expected[label]:.0%}"] for label in list(expected)[3:-1]]
    assert card.locator("img").evaluate("image => image.naturalWidth") > 500
    assert "no judgement of how a person really feels" in page.inner_text("main")


def test_the_other_model_can_be_chosen_without_a_mouse(page):
    path = EVAL_DATA / "deep_german.ogg"
    (expected,) = Predictor(REPOSITORY / "model_sad_removed.pt").predict([path])
    page.get_by_label("without sad").focus()
    page.keyboard.press("Space")
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Click to upload or drop files").focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    assert f"{expected['emotion']}, {expected['confidence']:.0%}" in page.locator(".recording summary").inner_text()
    assert page.locator(".recording li").count() == 7


def test_several_files_give_the_table_of_eval_and_a_broken_one_costs_its_own_row(page, server, tmp_path):
    names = ["even_male.flac", "=broken <b>.wav", "whisper.ogg"]
    (tmp_path / names[1]).write_text("this is not audio")
    for name in names[::2]:
        shutil.copy(EVAL_DATA / name, tmp_path)
    run_eval(*names, "--model", REPOSITORY / "model.pt", cwd=tmp_path)
    drop(page, *(tmp_path / name for name in names))
    with page.expect_download() as download:
        page.click(ANSWER)
    assert download.value.suggested_filename == "out.csv"
    assert read_rows(Path(download.value.path())) == read_rows(tmp_path / "out.csv")
    assert "3 recordings, 1 without an emotion" in page.inner_text(".summary")
    assert page.locator(".recording").nth(1).inner_text().startswith("=broken <b>.wav: cannot read =broken <b>.wav: ")
    assert "Traceback" not in page.content() and str(server.folder) not in page.content()


def test_a_long_recording_shows_its_emotions_over_time(page, tmp_path):
    voices = [load_audio(path, 16_000) for path in find_recordings([EVAL_DATA])[0]]
    soundfile.write(tmp_path / "conversation.wav", np.concatenate(voices), 16_000)
    page.context.grant_permissions(["microphone"])  # or the picture says that there is none
    page.reload()
    drop(page, tmp_path / "conversation.wav", EVAL_DATA / "bright_french.mp3")
    page.wait_for_selector(ANSWER)
    long, short = page.locator(".recording").all()
    assert "windows of 3 s" in long.inner_text() and "windows of 3 s" not in short.inner_text()
    heights = [card.locator("img").evaluate("image => image.naturalHeight") for card in (long, short)]
    assert heights[0] > 1.5 * heights[1]
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1100, "height": 900})
    if "SCREENSHOT" in os.environ:
        page.screenshot(path=REPOSITORY / os.environ["SCREENSHOT"], full_page=True)


def test_a_recording_from_the_microphone_is_answered_and_deleted(page, server):
    page.context.grant_permissions(["microphone"])
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop").click()
    assert "recording.wav: " in page.locator(".recording summary").inner_text()
    assert server.files() == []


def test_a_recording_that_is_too_large_is_refused_with_a_sentence(page, server, tmp_path):
    (tmp_path / "large.wav").touch()
    os.truncate(tmp_path / "large.wav", 101 * 2**20)
    drop(page, tmp_path / "large.wav")
    assert "maximum allowed size of 100.0 Mb" in page.get_by_test_id("toast-body").inner_text()
    assert server.files() == []


def test_nothing_stays_on_the_disk_and_nobody_else_is_told(page, server):
    drop(page, *sorted(EVAL_DATA.glob("*.mp3")))
    page.wait_for_selector(ANSWER)
    assert server.files() == []
    assert {line.split()[1] for line in server.sockets.read_text().splitlines()} == {"127.0.0.1"}


def test_a_client_cannot_name_a_file_of_the_server(server, tmp_path):
    shutil.copy(EVAL_DATA / "whisper.ogg", tmp_path)
    config = json.load(urllib.request.urlopen(f"{server.url}/config"))
    index = next(event["id"] for event in config["dependencies"] if event["targets"][0][1] == "upload")
    file = {"path": str(tmp_path / "whisper.ogg"), "orig_name": "whisper.ogg", "meta": {"_type": "gradio.FileData"}}
    data = {"data": ["without sad", [file]], "fn_index": index, "session_hash": "stranger"}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/gradio_api/queue/join", json.dumps(data).encode(), headers)
    urllib.request.urlopen(request)
    with urllib.request.urlopen(f"{server.url}/gradio_api/queue/data?session_hash=stranger", timeout=60) as answers:
        assert b"was not uploaded by a user" in answers.read()
    assert (tmp_path / "whisper.ogg").exists() and server.files() == []


def run_app(*arguments, cwd: Path, before: str = "pass") -> subprocess.CompletedProcess:
    program = f"import sys; {before}; sys.path.insert(0, '.'); import app; sys.exit(app.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_without_gradio_one_sentence_says_what_to_install():
    result = run_app(cwd=REPOSITORY, before="sys.modules['gradio'] = None")
    assert result.returncode == 2
    assert result.stderr == "app.py: the page needs Gradio; pip install -r requirements-app.txt\n"


def test_help_needs_neither_gradio_nor_torch():
    result = run_app("--help", cwd=REPOSITORY, before="sys.modules.update(gradio=None, torch=None, numpy=None)")
    assert result.returncode == 0 and "--max-mb" in result.stdout


def test_a_missing_model_or_a_port_that_is_taken_is_one_sentence(server, tmp_path):
    shutil.copy(REPOSITORY / "app.py", tmp_path)
    (tmp_path / "speech_emotion").symlink_to(REPOSITORY / "speech_emotion")
    result = run_app("--port", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == f"app.py: there is no model file {tmp_path}/model.pt; python3 train.py makes one\n"
    result = run_app("--port", server.url.split(":")[-1], cwd=REPOSITORY)
    assert result.returncode == 2
    assert result.stderr.startswith("app.py: Address already in use") and result.stderr.count("\n") == 1
