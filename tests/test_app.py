"""The web page as its users see it: a real server, a real Chromium, real recordings.

SCREENSHOT=results/figures/app.png python3 -m pytest tests/test_app.py makes the picture of the README again, and
LIVE_SCREENSHOT=results/figures/live.png that of a live recording.
"""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from app_server import EVAL_DATA, Server, write_two_voices
from conftest import REPOSITORY, read_rows, wait_until

from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.commands import classify
from speech_emotion.corpora.labels import read_labels
from speech_emotion.inference.formats import TRACKS
from speech_emotion.inference.predictor import Predictor
from speech_emotion.inference.table import is_uncertain

ANY_VOICE, WITHOUT_SAD = REPOSITORY / "model_any_voice.pt", REPOSITORY / "model_sad_removed.pt"
ANSWER = "#table:visible"

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
    page.get_by_text("any voice (recommended)").first.wait_for(state="attached")
    yield page
    page.close()
    assert not errors
    assert all(url.startswith((server.url, "data:", "blob:")) for url in urls)  # works offline, tells nobody
    assert server.files() == []


def in_words(row: dict, labels: list[str]) -> str:
    shares = {label: float(row[label]) for label in labels}
    said = [f"{label} {share:.0%}".replace("%", "\u202f%") for label, share in shares.items()]
    ranked = sorted(zip(shares.values(), said, strict=True), reverse=True)
    return f"uncertain: {', '.join(text for _, text in ranked[:3])}" if is_uncertain(shares) else ranked[0][1]


def drop(page, *paths) -> None:
    page.set_input_files("#files", paths)


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
    labels, others = (list(row)[3:-1] for row in (expected, other))
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Recordings", exact=True).focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    heading, means = page.locator(".card h2"), page.locator(".means li")
    assert heading.inner_text() == in_words(expected, labels)
    assert [" ".join(bar.split()) for bar in means.all_inner_texts()] == [
        f"{label} {round(expected[label], 4):.0%}".replace("%", " %") for label in labels
    ]
    assert "They do not tell how a person really feels" in page.inner_text("main")
    page.locator("#options summary").focus()
    page.keyboard.press("Enter")
    page.get_by_label("RAVDESS, without sad model_sad_removed.pt").focus()
    page.keyboard.press("Space")
    means.nth(7).wait_for(state="detached")
    assert heading.inner_text() == in_words(other, others) and means.count() == 7


def test_several_files_give_the_table_of_eval_and_a_bad_one_affects_only_its_row(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["even_male.flac", "=broken <b>.wav", "whisper.ogg"]
    Path(names[1]).write_text("this is not audio")
    for name in names[::2]:
        shutil.copy(EVAL_DATA / name, tmp_path)
    expected = table_of_eval(*names)
    Path("large.wav").touch()
    os.truncate("large.wav", 200 * 2**20 + 1)
    soundfile.write("\u202egnol.wav", np.zeros(11 * 60 * 4000, np.int16), 4000)
    sent = []
    page.on("request", lambda request: sent.append(request.url.partition("?")[0]))
    drop(page, *names, "large.wav", "\u202egnol.wav")
    assert read_rows(downloaded(page, page.locator(ANSWER))) == expected
    assert sum(url.endswith("/answers") for url in sent) == 3  # what is too large or too long is not sent
    assert page.inner_text("#summary") == "5 recordings, 3 without an emotion."
    assert page.locator("#answers th bdi").all_inner_texts() == [*names, "large.wav", "\u202egnol.wav"]
    unreadable, large, long = page.locator("#answers .error").all_inner_texts()
    assert unreadable.startswith("cannot read: ")
    assert large == "larger than 200 MB; the server's option --max-mb changes that"
    assert long == "11:00 is longer than 10 minutes; the server's option --max-minutes changes that"
    assert page.locator(".card").count() == 0  # closed, until somebody asks for one
    page.get_by_role("button", name="whisper.ogg").first.click()
    assert page.locator(".card").is_visible()
    page.get_by_label("Remove large.wav").click()
    assert page.inner_text("#summary") == "4 recordings, 2 without an emotion."


def test_only_the_ticked_emotions_are_answered(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = EVAL_DATA / "bright_french.mp3"
    expected = table_of_eval(path, "--emotions", "happy", "angry")
    page.click("#options summary")
    boxes = page.locator("#emotions input:visible")
    drop(page, path)
    page.wait_for_selector(ANSWER)
    assert boxes.evaluate_all("boxes => boxes.every((box) => box.checked && !box.disabled)")
    for emotion in ("neutral", "calm", "sad", "fearful", "disgust", "surprised"):
        page.get_by_role("checkbox", name=emotion).uncheck()
    page.locator(".means li").nth(2).wait_for(state="detached")
    page.wait_for_selector(ANSWER)
    assert [row | {"url": str(path)} for row in read_rows(downloaded(page, page.locator(ANSWER)))] == expected
    assert page.inner_text("#chosen") == "any voice (recommended); happy, angry"
    checked = [box for box in boxes.all() if box.is_checked()]
    assert len(checked) == 2 and all(box.is_disabled() for box in checked)  # two are needed
    page.get_by_label("RAVDESS, without sad").check()
    assert boxes.count() == 7


def test_a_long_recording_shows_its_emotions_over_time_and_plays_each(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    voices = [load_audio(path, 16_000) for path in find_recordings([EVAL_DATA])[0]]
    soundfile.write("conversation.wav", np.concatenate(voices), 16_000)
    (row,) = table_of_eval("conversation.wav", "--timeline", "eval.csv")
    rows = read_rows(Path("eval.csv"))
    drop(page, "conversation.wav")
    page.wait_for_selector(ANSWER)
    labels = list(rows[0])[5:]
    card = page.locator(".card")
    assert card.locator("h2").inner_text() == in_words(row, labels).replace("uncertain", "mixed")
    assert "less than 40\u202f%, or is less than 10 points ahead" in card.inner_text()
    assert card.locator(".mark").all_text_contents() == ["0:00", "0:05", "0:10", "0:15", "0:20", "0:25"]
    opacities = card.locator("rect[fill-opacity]").evaluate_all(
        "all => all.map((r) => +r.getAttribute('fill-opacity'))"
    )
    shares = [float(part[label]) for part in rows for label in labels]
    assert opacities == pytest.approx([share for share in shares if share >= 0.03], abs=1e-3)

    second = rows[1]
    audio = card.locator("audio")
    assert audio.evaluate("audio => audio.readyState") > 0
    card.locator("rect.stretch").nth(1).click()
    wait_until(lambda: audio.evaluate("audio => audio.paused && audio.currentTime > 1"))
    assert float(second["end"]) <= audio.evaluate("audio => audio.currentTime") < float(second["end"]) + 0.5
    playhead = float(card.locator(".playhead").get_attribute("x1")[:-1]) / 100
    assert playhead == pytest.approx(
        float(second["end"]) / float(soundfile.info("conversation.wav").duration), abs=0.02
    )

    card.get_by_text("Table of 8 stretches").click()
    emotions = card.locator("tbody td:nth-of-type(1)").all_inner_texts()
    assert [text.split()[0] for text in emotions] == [part["emotion"] for part in rows]
    assert [" (uncertain)" in text for text in emotions] == [
        is_uncertain({label: float(part[label]) for label in labels}) for part in rows
    ]
    links = {link.get_attribute("download"): link for link in card.locator(".downloads a").all()}
    assert list(links) == [f"conversation{ending}" for ending in (".csv", "-timeline.csv", *TRACKS)]
    assert read_rows(downloaded(page, links["conversation-timeline.csv"])) == rows
    table_of_eval("conversation.wav", "--timeline", "eval.srt")
    assert downloaded(page, links["conversation.srt"]).read_text() == Path("eval.srt").read_text()
    drop(page, EVAL_DATA / "bright_french.mp3")
    page.locator(".sure").nth(1).wait_for()
    assert card.nth(0).is_hidden() and card.nth(1).is_visible()  # it is added, and shown
    if "SCREENSHOT" in os.environ:
        page.get_by_role("button", name="bright_french.mp3").first.click()
        page.get_by_role("button", name="conversation.wav").first.click()
        card.get_by_text("Table of 8 stretches").click()
        page.mouse.move(0, 0)
        page.screenshot(path=REPOSITORY / os.environ["SCREENSHOT"], full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_channels_with_different_voices_can_be_told_apart(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_two_voices(tmp_path / "two.wav")
    expected = table_of_eval("two.wav", "--channels", "each")
    drop(page, "two.wav")
    page.get_by_text("Its channels differ.").wait_for()
    page.click("#options summary")
    page.get_by_label("classify each channel").check()
    page.get_by_role("button", name="two.wav, channel 2").first.wait_for()
    page.wait_for_selector(ANSWER)
    assert read_rows(downloaded(page, page.locator(ANSWER))) == expected and len(expected) == 2
    assert page.locator(".name").all_inner_texts() == ["two.wav, channel 1", "two.wav, channel 2"]
    assert page.get_by_text("Its channels differ.").count() == 0


def test_five_recordings_can_be_adapted_to(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = find_recordings([EVAL_DATA])[0][:5]
    expected = table_of_eval(*paths, "--adapt")
    page.click("#options summary")
    box, why = page.get_by_label("adapt to these recordings"), page.locator("#why")
    assert box.is_disabled() and why.inner_text() == "needs at least 5 recordings"
    page.get_by_label("RAVDESS, eight emotions").check()
    assert box.is_disabled() and why.inner_text() == "RAVDESS, eight emotions cannot adapt"
    page.get_by_label("any voice (recommended)").check()
    drop(page, *paths[:4])
    page.wait_for_selector(ANSWER)
    assert box.is_disabled()
    drop(page, paths[4])
    assert box.is_enabled() and why.inner_text() == ""
    box.check()
    page.locator("#busy").wait_for(state="hidden")
    page.wait_for_selector(ANSWER)
    rows = read_rows(downloaded(page, page.locator(ANSWER)))
    assert [row | {"url": str(path)} for row, path in zip(rows, paths, strict=True)] == expected


def test_recordings_from_the_microphone_are_answered_one_after_the_other(page):
    for number in (1, 2):
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_role("timer").get_by_text("0:02").wait_for()
        levels = [
            float(page.locator("#level").get_attribute("value")) for _ in range(9) if not page.wait_for_timeout(100)
        ]
        assert 0 <= min(levels) < max(levels) <= 1 and page.locator("#drop").is_hidden()
        page.get_by_role("button", name="Stop").click()
        page.locator(".sure").nth(number - 1).wait_for(state="attached")
    names = page.locator(".name").all_inner_texts()
    assert len({*names}) == 2 and all(re.fullmatch(r"recording \d\d\.\d\d\.\d\d\.webm", name) for name in names)


def test_how_far_it_is_can_be_seen_and_the_work_be_cancelled(page, server, tmp_path):
    noise = np.random.default_rng(0).integers(-8, 8, 599 * 8000).astype(np.int16) * 256
    soundfile.write(tmp_path / "long.flac", noise, 8000)
    drop(page, tmp_path / "long.flac")
    page.get_by_text(re.compile(r"^[1-9]\d?\u202f%$")).wait_for()
    assert 0 < page.locator("#share").evaluate("share => share.value / share.max") < 1
    page.get_by_role("button", name="Cancel").click()
    wait_until(lambda: server.health()["requests"] == 0)
    wait_until(server.is_idle)
    assert page.locator("#answers .error").inner_text() == "cancelled"
    page.get_by_role("button", name="Classify again").click()
    wait_until(lambda: server.health()["requests"] == 1)
    page.get_by_role("button", name="Remove all").click()
    wait_until(lambda: server.health()["requests"] == 0)


def test_corrections_can_be_downloaded_and_taught(page, server, tmp_path, monkeypatch):
    """A label of one's own, which might be HTML, gets into the menu, the model and the answers."""
    monkeypatch.chdir(tmp_path)
    paths = find_recordings([EVAL_DATA])[0][:4]
    for path in paths:
        shutil.copy(path, tmp_path)
    page.on("dialog", lambda dialog: dialog.accept(" <b>bored</b> "))
    drop(page, *paths)
    page.wait_for_selector(ANSWER)
    teach, missing, menus = (
        page.get_by_role("button", name="Teach"),
        page.locator("#missing"),
        page.get_by_role("combobox"),
    )
    assert teach.is_hidden()
    menus.nth(0).select_option("happy")
    assert missing.inner_text() == "needs corrections to at least two emotions; confirm correct answers, too"
    menus.nth(1).select_option("another word …")
    menus.nth(2).select_option("<b>bored</b>")
    assert missing.inner_text() == "needs a second recording of happy" and teach.is_disabled()
    menus.nth(3).select_option("happy")
    table = downloaded(page, page.get_by_text("Download corrections")).rename(tmp_path / "corrections.csv")
    clips = read_labels(table)
    assert [*clips["path"]] == [str(tmp_path / path.name) for path in map(Path, paths)]
    assert [*clips["emotion"]] == ["happy", "<b>bored</b>", "<b>bored</b>", "happy"]
    teach.click()
    link = page.get_by_text("Download taught.pt")
    mine = downloaded(page, link)
    page.wait_for_selector(ANSWER)
    assert page.inner_text("#chosen").startswith("taught with 4 recordings at ")
    rows = read_rows(downloaded(page, page.locator(ANSWER)))
    assert list(rows[0]) == ["url", "emotion", "confidence", "happy", "<b>bored</b>", "error"]
    classify.main([*map(str, paths), "--model", str(mine), "--speech-only"])
    assert [row | {"url": ""} for row in rows] == [row | {"url": ""} for row in read_rows(Path("out.csv"))]
    name = page.locator("[name=model]:checked").get_attribute("value")
    assert requests.get(f"{server.url}/teach/{name}", timeout=60).content == mine.read_bytes()
    page.goto("about:blank")
    wait_until(lambda: requests.get(f"{server.url}/teach/{name}", timeout=60).status_code == 404)


def test_the_emotion_is_seen_while_somebody_speaks_and_their_voice_adapted_to(page, server):
    """From the fifth of the six voices on, because none of their emotions prevails."""
    frames = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.click("#options summary")
    page.get_by_role("checkbox", name="disgust").uncheck()
    page.get_by_role("button", name="Live", exact=True).click()
    current, behind = page.locator("#current"), page.locator("#behind")
    words = current.filter(has_text="%").inner_text()
    labels = [label for label in Predictor(ANY_VOICE).labels if label != "disgust"]
    assert set(labels) < set(json.loads(frames[-1])["timeline"][0]) and "disgust" not in frames[-1]
    said = r"(uncertain: )?((, )?(LABELS) \d+\u202f%)+".replace("LABELS", "|".join(labels))
    assert re.fullmatch(said, words)
    assert re.fullmatch(r"\d+\.\d s behind", behind.inner_text())
    assert server.files() == [] and server.health()["live"] == 1
    page.locator("#scroll rect[fill-opacity]").first.wait_for()
    assert page.locator("#scroll .names > *").all_inner_texts() == labels
    assert page.locator("#drop").is_hidden() and page.locator("#record").is_hidden()
    if "LIVE_SCREENSHOT" in os.environ:
        page.wait_for_timeout(62_000)
        clip = {"x": 0, "y": 0, "width": 1100, "height": 620}
        page.screenshot(path=REPOSITORY / os.environ["LIVE_SCREENSHOT"], clip=clip)
    page.get_by_label("adapt to this voice").check()
    page.get_by_text("s behind, adapted to this voice").wait_for()
    page.get_by_role("button", name="New speaker").click()
    page.get_by_text(re.compile("s behind$")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector(ANSWER)
    assert re.fullmatch(r"live \d\d\.\d\d\.\d\d\.wav", page.locator(".name").inner_text())
    with page.expect_download() as download:
        page.locator("audio").evaluate(
            "({ src: href }) => Object.assign(document.createElement('a'), { href, download: '' }).click()"
        )
    sound = soundfile.info(download.value.path())
    assert (sound.channels, sound.subtype) == (1, "PCM_16") and sound.duration > 1
    assert page.get_by_role("button", name="Live", exact=True).is_enabled() and not current.is_visible()


def test_a_live_recording_that_is_refused_says_why(page):
    page.evaluate("import('./static/settings.js').then(({ settings }) => { settings.models[0].name = 'none.pt' })")
    page.evaluate("document.querySelector('[name=model]:checked').value = 'none.pt'")
    page.get_by_role("button", name="Live", exact=True).click()
    page.get_by_text("there is no model 'none.pt'").wait_for()
    assert page.get_by_role("button", name="Live", exact=True).is_enabled()
