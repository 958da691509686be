"""The web page as its users see it: a real server, a real Chromium, real recordings.

SCREENSHOT=results/figures/app.png python3 -m pytest tests/test_app.py makes the picture of the README again, and
LIVE_SCREENSHOT=results/figures/live.png that of a live recording.
"""

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from app_server import EVAL_DATA, Server, write_two_voices
from conftest import REPOSITORY, read_rows, wait_until
from PIL import Image, ImageColor

from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.commands import classify
from speech_emotion.evaluation.plots import COLOURS
from speech_emotion.inference.formats import TRACKS
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import FIXED, is_uncertain

ANY_VOICE, WITHOUT_SAD = REPOSITORY / "model_any_voice.pt", REPOSITORY / "model_sad_removed.pt"
ANSWER = "a[download='out.csv']"

pytestmark = pytest.mark.skipif(not ANY_VOICE.exists(), reason="there is no model for other voices here")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("fastapi")
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server
        assert server.addresses() == {"127.0.0.1"}


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> Path:
    """The sound of the fake microphone, in a loop: six voices, with half a second between them."""
    voices = [load_audio(path, 16_000).numpy()[:25_600] for path in find_recordings([EVAL_DATA])[0][:6]]
    path = tmp_path_factory.mktemp("microphone") / "talk.wav"
    soundfile.write(path, np.concatenate([part for voice in voices for part in (voice, np.zeros(8_000))]), 16_000)
    return path


@pytest.fixture(scope="module")
def browser(talk):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    speech = f"--use-file-for-fake-audio-capture={talk}"
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
    page.context.grant_permissions(["microphone"])
    urls, errors = [], []
    page.on("request", lambda request: urls.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(server.url)
    page.get_by_text("Drop recordings here").wait_for()
    yield page
    page.close()
    assert not errors
    assert all(url.startswith((server.url, "data:", "blob:")) for url in urls)  # works offline, tells nobody
    assert server.files() == []


def in_words(row: dict) -> str:
    emotion = f"{row['emotion']}, {float(row['confidence']):.0%}"
    numbers = {key: value and float(value) for key, value in row.items() if key not in FIXED}
    return f"{emotion} (uncertain)" if is_uncertain(numbers) else emotion


def drop(page, *paths) -> None:
    page.set_input_files("input[type=file]", paths)


def painted(page) -> set[tuple[int, int, int]]:
    """The colours of the picture of a live recording."""
    picture = Image.open(io.BytesIO(page.locator("#scroll").screenshot())).convert("RGB")
    return {colour for _, colour in picture.getcolors(2**24)}


def downloaded(page, link) -> Path:
    with page.expect_download() as download:
        link.click()
    return Path(download.value.path())


def table_of_eval(*arguments) -> list[dict]:
    """What eval.py writes in the current folder."""
    classify.main([*map(str, arguments), "--model", str(ANY_VOICE)])
    return read_rows(Path("out.csv"))


def test_a_recording_gets_the_emotion_that_the_predictor_gives_and_another_with_another_model(page):
    path = EVAL_DATA / "bright_french.mp3"
    (expected,), (other,) = (Predictor(model).predict([path]) for model in (ANY_VOICE, WITHOUT_SAD))
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Recordings", exact=True).focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    card = page.locator(".recording")
    assert card.locator("summary").inner_text() == f"bright_french.mp3: {in_words(expected)}"
    bars = [bar.split() for bar in card.locator("li").all_inner_texts()]
    assert bars == [[label, f"{round(expected[label], 4):.0%}"] for label in list(expected)[3:-1]]  # as in out.csv
    assert card.locator("img").evaluate("image => image.naturalWidth") > 500
    assert "They do not tell how a person really feels" in page.inner_text("main")
    page.get_by_label("RAVDESS, without sad model_sad_removed.pt").focus()
    page.keyboard.press("Space")
    card.locator("li").nth(7).wait_for(state="detached")
    page.wait_for_selector(ANSWER)
    assert card.locator("summary").inner_text() == f"bright_french.mp3: {in_words(other)}"
    assert card.locator("li").count() == 7


def test_several_files_give_the_table_of_eval_and_a_bad_one_affects_only_its_row(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["even_male.flac", "=broken <b>.wav", "whisper.ogg"]
    Path(names[1]).write_text("this is not audio")
    for name in names[::2]:
        shutil.copy(EVAL_DATA / name, tmp_path)
    expected = table_of_eval(*names)
    Path("large.wav").touch()
    os.truncate("large.wav", 200 * 2**20 + 1)
    drop(page, *names, "large.wav")
    assert read_rows(downloaded(page, page.locator(ANSWER))) == expected
    assert "4 recordings, 2 without an emotion" in page.inner_text("#summary")
    *_, broken, _, large = page.locator(".recording").all_inner_texts()
    assert broken.startswith("=broken <b>.wav: cannot read: ") and large == "large.wav: larger than 200 MB"
    colours = [
        page.get_by_text(text).evaluate("element => getComputedStyle(element).color")
        for text in (": larger than", "4 recordings")
    ]
    assert colours[0] != colours[1]


def test_only_the_ticked_emotions_are_answered(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = EVAL_DATA / "bright_french.mp3"
    expected = table_of_eval(path, "--emotions", "happy", "angry")
    boxes = page.locator("#emotions input:visible")
    drop(page, path)
    page.wait_for_selector(ANSWER)
    assert boxes.evaluate_all("boxes => boxes.every((box) => box.checked && !box.disabled)")
    for emotion in ("neutral", "calm", "sad", "fearful", "disgust", "surprised"):
        page.get_by_role("checkbox", name=emotion).uncheck()
    page.locator(".recording li").nth(2).wait_for(state="detached")
    page.wait_for_selector(ANSWER)
    assert [row | {"url": str(path)} for row in read_rows(downloaded(page, page.locator(ANSWER)))] == expected
    assert [bar.split()[0] for bar in page.locator(".recording li").all_inner_texts()] == ["happy", "angry"]
    checked = [box for box in boxes.all() if box.is_checked()]
    assert len(checked) == 2 and all(box.is_disabled() for box in checked)  # two are needed
    page.get_by_label("RAVDESS, without sad").check()
    assert boxes.count() == 7


def test_a_long_recording_shows_its_emotions_over_time(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    voices = [load_audio(path, 16_000) for path in find_recordings([EVAL_DATA])[0]]
    soundfile.write("conversation.wav", np.concatenate(voices), 16_000)
    drop(page, "conversation.wav", EVAL_DATA / "bright_french.mp3")
    page.wait_for_selector(ANSWER)
    long, short = page.locator(".recording").all()
    assert "Bars: the mean of" in long.inner_text() and "Bars: the mean of" not in short.inner_text()
    headings = [card.locator("summary").inner_text() for card in (long, short)]
    assert " from 0:0" in headings[0] and "%" not in headings[0] and "%" in headings[1]
    height, usual = (card.locator("img").evaluate("image => image.naturalHeight") for card in (long, short))
    assert height > 1.5 * usual
    endings = [link.get_attribute("download") for link in long.locator("a").all()]
    assert endings == [f"conversation{ending}" for ending in TRACKS] and short.locator("a").count() == 0
    subtitles = downloaded(page, long.get_by_text("conversation.srt"))
    table_of_eval("conversation.wav", "--timeline", "eval.srt")
    assert subtitles.read_text() == Path("eval.srt").read_text()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1100, "height": 900})
    if "SCREENSHOT" in os.environ:
        page.screenshot(path=REPOSITORY / os.environ["SCREENSHOT"], full_page=True)


def test_channels_with_different_voices_can_be_told_apart(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_two_voices(tmp_path / "two.wav")
    expected = table_of_eval("two.wav", "--channels", "each")
    box = page.get_by_label("classify each channel")
    assert not box.is_visible()
    drop(page, "two.wav")
    box.check()
    page.wait_for_selector(ANSWER, state="detached")
    page.get_by_text("two.wav, channel 2").wait_for()
    assert read_rows(downloaded(page, page.locator(ANSWER))) == expected and len(expected) == 2
    headings = page.locator(".recording summary").all_inner_texts()
    assert [heading.partition(": ")[0] for heading in headings] == ["two.wav, channel 1", "two.wav, channel 2"]
    drop(page, EVAL_DATA / "even_male.flac")
    page.wait_for_selector(ANSWER)
    assert not box.is_visible()


def test_five_recordings_can_be_adapted_to(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = find_recordings([EVAL_DATA])[0][:5]
    expected = table_of_eval(*paths, "--adapt")
    box, why = page.get_by_label("adapt to these recordings"), page.locator("#why")
    assert box.is_disabled() and why.inner_text() == "needs at least 5 recordings, dropped together"
    page.get_by_label("RAVDESS, eight emotions").check()
    assert box.is_disabled() and why.inner_text() == "model.pt cannot adapt"
    page.get_by_label("any voice (recommended)").check()
    drop(page, *paths[:4])
    page.wait_for_selector(ANSWER)
    assert box.is_disabled()
    drop(page, *paths)
    page.wait_for_selector(ANSWER)
    assert box.is_enabled() and why.inner_text() == ""
    page.locator("#adapt").check()
    page.wait_for_selector(ANSWER, state="detached")
    page.wait_for_selector(ANSWER)
    for summary, row in zip(page.locator(".recording summary").all_inner_texts(), expected, strict=True):
        assert summary == f"{Path(row['url']).name}: {in_words(row)}"


def test_a_recording_from_the_microphone_is_answered(page):
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("timer").get_by_text("0:02").wait_for()
    levels = [page.evaluate("level.value") for _ in range(20) if not page.wait_for_timeout(100)]
    assert 0 <= min(levels) < max(levels) <= 1
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("timer").wait_for(state="hidden")
    assert "recording.webm: " in page.locator(".recording summary").inner_text()


def test_the_emotion_is_seen_while_somebody_speaks_and_their_voice_adapted_to(page, server):
    """From the fifth of the six voices on, because none of their emotions prevails."""
    frames = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.get_by_role("checkbox", name="disgust").uncheck()
    page.get_by_role("button", name="Live", exact=True).click()
    current, behind = page.locator("#current"), page.locator("#behind")
    current.filter(has_text="%").wait_for()
    emotion, share = current.inner_text().split()
    labels = [label for label in Predictor(ANY_VOICE).labels if label != "disgust"]
    assert set(labels) < set(json.loads(frames[-1])["timeline"][0]) and "disgust" not in frames[-1]
    assert emotion in labels and 0 < int(share[:-1]) <= 100
    assert re.fullmatch(r"\d+\.\d s behind", behind.inner_text())
    assert server.files() == [] and server.health()["live"] == 1
    wait_until(lambda: painted(page) & {ImageColor.getrgb(COLOURS[label]) for label in labels})
    assert page.get_by_role("button", name="Record", exact=True).is_disabled()
    if "LIVE_SCREENSHOT" in os.environ:
        page.wait_for_timeout(62_000)
        page.screenshot(path=REPOSITORY / os.environ["LIVE_SCREENSHOT"])
    page.get_by_label("adapt to this voice").check()
    page.get_by_text("s behind, adapted to this voice").wait_for()
    page.get_by_role("button", name="New speaker").click()
    page.get_by_text(re.compile("s behind$")).wait_for()
    page.get_by_role("button", name="Stop").click()
    assert "live.wav: " in page.locator(".recording summary").inner_text()
    page.wait_for_selector(ANSWER)
    content = page.evaluate("async () => [...new Uint8Array(await dropped[0].arrayBuffer())]")
    sound = soundfile.info(io.BytesIO(bytes(content)))
    assert (sound.channels, sound.subtype) == (1, "PCM_16") and sound.duration > 1
    assert page.get_by_role("button", name="Live", exact=True).is_enabled() and not current.is_visible()


def test_a_live_recording_that_is_refused_says_why(page):
    page.evaluate("document.querySelector('[name=model]:checked').value = 'none.pt'")
    page.get_by_role("button", name="Live", exact=True).click()
    page.get_by_text("there is no model 'none.pt'").wait_for()
    assert page.get_by_role("button", name="Live", exact=True).is_enabled()
