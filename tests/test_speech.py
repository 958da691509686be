"""Silero VAD as it is set here: speech of real corpora stays, sounds without speech go."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import REPOSITORY, read_rows, run_eval, run_python
from non_speech import RATE, non_speech

from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.windows import Speech, crop_or_pad, window_start
from speech_emotion.corpora import ravdess
from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.foreign import EMODB
from speech_emotion.inference import speech
from speech_emotion.inference.speech import NoDetectorError, SpeechDetector, which_speak

# Training clips of split 0. The last two reach 0.013 and 0.021 for 46 frames.
UNCLEAR = (
    "03-01-03-02-02-02-18", "03-01-05-02-02-01-18", "03-01-06-02-02-01-14", "03-02-02-01-01-01-08",
    "03-01-06-02-01-01-06", "03-01-06-02-02-01-20",
)  # fmt: skip


@pytest.fixture(scope="module")
def detector():
    detect = SpeechDetector()
    return lambda windows, rate: [detect(window, rate) for window in windows]


@pytest.fixture(scope="module", params=[ravdess, EMODB])
def voices(request):
    """(about 60, 48000) windows of every emotion, song among them."""
    return windows_of(request.param)


def windows_of(corpus, is_wanted=None):
    """(B, 48000) of the clips whose names are wanted, or of about 60."""
    try:
        clips = corpus.clip_table(REPOSITORY / "data")
    except NoDataError as error:
        pytest.skip(str(error))
    clips = clips[clips["clip"].map(is_wanted)] if is_wanted else clips[:: len(clips) // 60]
    recordings = [load_audio(path, RATE) for path in clips["path"]]
    return torch.stack([crop_or_pad(x, round(window_start(x, RATE, 1.0) * RATE), 3 * RATE) for x in recordings])


def test_sounds_without_speech_are_refused(detector):
    names, sounds = zip(*non_speech(), strict=True)
    heard = detector(torch.stack([torch.from_numpy(samples) for samples in sounds]), RATE)
    assert len(names) >= 100 and sum(map(bool, heard)) <= 1, [n for n, h in zip(names, heard, strict=True) if h]


@pytest.mark.parametrize("snr_db", [None, 10])
def test_speech_stays_in_silence_and_in_noise(detector, voices, snr_db):
    if snr_db:
        noise = torch.randn(voices.shape, generator=torch.Generator().manual_seed(0))
        voices = voices + noise * (voices.square().mean(1, keepdim=True) / 10 ** (snr_db / 10)).sqrt()
    assert sum(map(bool, detector(voices, RATE))) >= 0.98 * len(voices)


def test_screams_and_song_that_are_not_clear_are_faint(detector):
    assert detector(windows_of(ravdess, UNCLEAR.__contains__), RATE) == [Speech.FAINT] * len(UNCLEAR)


def test_level_rate_and_neighbours_do_not_matter(detector, voices):
    heard = detector(voices, RATE)
    assert detector(voices / 100, RATE) == heard
    assert detector(voices[2:3], RATE) == heard[2:3]
    upsampled = torch.nn.functional.interpolate(voices[:4, None], scale_factor=3, mode="linear")[:, 0]
    assert detector(upsampled, 3 * RATE) == heard[:4]


@pytest.mark.parametrize(
    ("heard", "counts"),
    [
        ([], []),
        ([Speech.NONE], [False]),
        ([Speech.FAINT], [True]),
        ([Speech.FAINT, Speech.FAINT, Speech.NONE], [False, False, False]),
        ([Speech.FAINT, Speech.CLEAR, Speech.NONE], [True, True, False]),
    ],
)
def test_of_several_windows_one_must_be_clear(heard, counts):
    assert which_speak(heard) == counts


def test_the_threads_of_torch_stay_and_nothing_is_said_or_reported(tmp_path):
    code = (
        "import torch; torch.set_num_threads(2)\nfrom speech_emotion.inference.speech import SpeechDetector\n"
        "SpeechDetector()(torch.zeros(48000), 16000); assert torch.get_num_threads() == 2"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # where ONNX Runtime's telemetry keeps its session
    done = run_python(code, env=environment)
    assert (done.returncode, done.stdout, done.stderr, list(tmp_path.iterdir())) == (0, "", "", [])


def test_without_silero_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    with pytest.raises(NoDetectorError, match="pip install silero-vad"):
        SpeechDetector()


def test_eval_gives_no_emotion_where_nobody_speaks(tmp_path, voices):
    melody, voice = dict(non_speech())["melody-3"], (voices[7] / voices[7].abs().max() / 2).numpy()
    both = np.concatenate([melody, melody, voice, melody])
    for name, samples in {"melody": melody, "voice": voice, "both": both}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    options = ("--model", REPOSITORY / "model_any_voice.pt", "--timeline", "t.csv")
    done = run_eval("melody.wav", "voice.wav", "both.wav", *options, cwd=tmp_path)
    assert done.returncode == 1 and "melody.wav: nobody speaks" in done.stdout, done.stderr
    rows = {Path(row["url"]).stem: row for row in read_rows(tmp_path / "out.csv")}
    assert [rows[name]["error"] for name in ("melody", "voice", "both")] == ["nobody speaks", "", ""]
    starts = [float(row["start"]) for row in read_rows(tmp_path / "t.csv") if row["url"].endswith("both.wav")]
    assert starts and min(starts) > 3 and max(starts) < 9


@pytest.mark.parametrize(
    ("model", "option", "error"),
    [
        ("model_any_voice.pt", "--all-sounds", ""),
        ("model.pt", "--all-sounds", ""),
        ("model.pt", "--speech-only", "nobody speaks"),
        ("model.pt", None, ""),
    ],
)
def test_an_option_says_which_sounds_count(tmp_path, model, option, error):
    soundfile.write(tmp_path / "melody.wav", dict(non_speech())["melody-3"], RATE)
    run_eval("melody.wav", "--model", REPOSITORY / model, *filter(None, [option]), cwd=tmp_path)
    assert [row["error"] for row in read_rows(tmp_path / "out.csv")] == [error]
