"""eval.py --live, with a file and a fake microphone."""

import os
import signal
import subprocess
from itertools import chain

import numpy as np
import pytest
import soundfile
from conftest import eval_command, read_rows, run_eval, small_any_voice

from speech_emotion.audio.reading import AudioError
from speech_emotion.inference.listening import line, listen, played
from speech_emotion.inference.live import LiveRecording
from speech_emotion.inference.predictor import Predictor

RATE = 16_000
MICROPHONE = """
import os, threading, time
class PortAudioError(Exception):
    pass
def query_devices(kind):
    if os.environ["MICROPHONE"] == "none":
        raise PortAudioError("Error querying device -1")
    return {"default_samplerate": 16000.0}
class RawInputStream:
    def __init__(self, samplerate, channels, dtype, blocksize, callback):
        assert (samplerate, channels, dtype, blocksize) == (16000, 1, "int16", 1600)
        self.callback = callback
    def __enter__(self):
        threading.Thread(target=self.play, daemon=True).start()
    def __exit__(self, *exception):
        pass
    def play(self):
        import numpy as np
        noise = (3000 * np.random.default_rng(0).normal(size=16000)).astype("<i2").tobytes()
        for number in range(100):
            piece = noise[3200 * (number % 10):][:3200] if number % 20 < 10 else bytes(3200)
            self.callback(memoryview(piece), 1600, None, None)
            time.sleep(0.02)
"""


@pytest.fixture
def talk(tmp_path):
    """Noise and silence, twice, as 16-bit; too long for one window."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=16 * RATE // 10)
    samples = np.concatenate([np.zeros(RATE // 2), noise, np.zeros(RATE), noise])  # which ends with the second
    soundfile.write(tmp_path / "talk.wav", samples, RATE, subtype="PCM_16")
    return tmp_path / "talk.wav"


def environment(folder, microphone: str) -> dict[str, str]:
    (folder / "fake").mkdir(exist_ok=True)
    (folder / "fake" / "sounddevice.py").write_text(MICROPHONE)
    return {**os.environ, "PYTHONPATH": str(folder / "fake"), "MICROPHONE": microphone}


def test_a_file_that_is_played_has_a_line_for_each_stretch_and_its_own_rows(talk, model, tmp_path):
    options = ("--model", model, "--timeline", "timeline.csv")
    played = run_eval("--live", "talk.wav", *options, cwd=tmp_path)
    tables = [read_rows(tmp_path / name) for name in ("out.csv", "timeline.csv")]
    assert played.returncode == 0 and "listening" in played.stderr
    run_eval("talk.wav", *options, cwd=tmp_path)
    assert tables == [read_rows(tmp_path / name) for name in ("out.csv", "timeline.csv")] and len(tables[1]) == 2
    *lines, last = played.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0:00.5", "0:03.1"]
    assert all(line.endswith("%") and "#" in line for line in lines) and last.endswith("; the row is in out.csv")


def test_lines_come_while_the_sound_goes_on(talk, model):
    live = LiveRecording(Predictor(model, "cpu"), RATE)
    at = []
    rate, pieces = played(talk, speed=20)
    listen(live, pieces, lambda row: at.append((row["end"], live.seconds)))
    assert rate == RATE and live.seconds == 4.7
    assert [end for end, _ in at] == [2.1] and all(end + 0.3 <= now <= end + 1 for end, now in at)


def test_ctrl_c_ends_the_recording_and_writes_its_row(model, tmp_path):
    command = eval_command("--live", "--model", model)
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(tmp_path, "plays"),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which tests in the background ignore
    ) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    (row,) = read_rows(tmp_path / "out.csv")
    assert first.startswith(" 0:00.0 ") and row["url"] == "microphone" and row["emotion"] in rest


def test_what_is_missing_is_said(model, talk, tmp_path):
    def said(*arguments) -> str:
        result = run_eval("--live", *arguments, "--model", model, cwd=tmp_path, env=environment(tmp_path, "none"))
        assert result.returncode == 2 and not (tmp_path / "out.csv").exists()
        return result.stderr.splitlines()[-1]

    assert said() == "eval.py: there is no microphone; --live FILE plays a recording instead"
    (tmp_path / "fake" / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    result = run_eval(
        "--live", "--model", model, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "fake")}
    )
    assert "apt install libportaudio2" in result.stderr
    assert "--live cannot be combined with paths, --labels" in said("talk.wav", "--labels", "x.csv", "--", "b.wav")
    assert said("talk.wav", "--adapt").startswith("eval.py: this model cannot adapt")
    assert "talk.wav" in said("talk.wav", "--out", "talk.wav") and talk.exists()
    with pytest.raises(AudioError, match="cannot read"):
        played(tmp_path / "none.wav")


def test_a_voice_is_adapted_to(talk, tmp_path):
    predictor = Predictor(small_any_voice(["calm", "sad"]), "cpu")
    confidences = []
    for adapt in (False, True):
        live = LiveRecording(predictor, RATE)
        rows: list = []
        listen(live, chain.from_iterable(played(talk, speed=100)[1] for _ in range(3)), rows.append, adapt)
        confidences.append([row["calm"] for row in rows])
    plain, adapted = confidences
    assert len(plain) == len(adapted) == 5 and plain[:4] == adapted[:4] and plain[4:] != adapted[4:]


def test_a_line_says_when_what_and_how_sure():
    row = {"start": 75.25, "emotion": "angry", "confidence": 0.5}
    assert line(row) == " 1:15.2  angry      ##########            50%"
    assert line(row | {"start": 59.97}).startswith(" 1:00.0 ")
