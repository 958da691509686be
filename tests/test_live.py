"""A recording that arrives piece by piece gets the same rows as a file of it."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, small_any_voice

from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.resampling import load_audio
from speech_emotion.inference.adaptation import Voices
from speech_emotion.inference.live import FEWEST_TO_ADAPT, Heard, LiveRecording, at_once
from speech_emotion.inference.predictor import Predictor

RATE = 16_000


def pcm(samples: np.ndarray) -> bytes:
    return np.round(samples * 32_767).astype("<i2").tobytes()


def arrive(live: LiveRecording, content: bytes, piece_s: float, rate: int, **options) -> list[Heard]:
    """The provisional result after each piece."""
    length = 2 * round(piece_s * rate)
    heard = []
    for start in range(0, len(content), length):
        live.add(content[start : start + length])
        heard.append(at_once(live.update(**options)))
    return heard


def sound(*parts: tuple[float, float], rate: int = RATE) -> np.ndarray:
    """Noise made of parts (seconds, level)."""
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.full(round(seconds * rate), level) for seconds, level in parts])
    return (levels * rng.normal(size=len(levels))).clip(-1, 1)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(small_any_voice(["calm", "sad"]), "cpu", speech_only=False)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Voices with silence between them, longer than a piece of a file, as 16-bit WAV of 44.1 kHz."""
    voices = [load_audio(path, 44_100).numpy() for path in find_recordings([REPOSITORY / "eval_data"])[0]]
    parts = [part for i, voice in enumerate(voices) for part in (voice, np.zeros(round(44_100 * (i % 3))))]
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), 44_100, subtype="PCM_16")
    return path


@pytest.mark.parametrize("model", ["model.pt", "model_any_voice.pt"])
def test_the_rows_are_those_of_the_file_whatever_the_size_of_the_pieces(model, talk):
    predictor = Predictor(REPOSITORY / model, "cpu", speech_only=None)
    (expected,) = predictor.answers([talk])
    samples, rate = soundfile.read(talk, dtype="int16")
    for piece_s in (0.1, 0.777, 60):
        live = LiveRecording(predictor, rate, str(talk))
        if piece_s == 0.1:  # or what is provisional would take most of the time of this test
            length = 2 * rate // 10 + 1  # a piece may end within a sample
            for start in range(0, 2 * len(samples), length):
                live.add(samples.tobytes()[start : start + length])
        else:
            arrive(live, samples.tobytes(), piece_s, rate)
        answer = at_once(live.finish())
        assert len(answer.stretches) > 5 and len(samples) > 30 * rate
        for rows, others in ((answer.rows, expected.rows), (answer.stretches, expected.stretches)):
            assert len(rows) == len(others)
            for row, other in zip(rows, others, strict=True):
                assert row == pytest.approx(other, abs=5e-5)


def test_what_is_provisional_is_what_a_file_that_ends_there_has(predictor):
    """Before and after a stretch is settled, at a rate other than that of the network."""
    rate = 22_050
    content = pcm(sound((0.4, 1e-4), (1.5, 0.1), (1, 1e-4), (0.9, 0.1), (0.6, 1e-4), (1.2, 0.1), (9, 1e-4), rate=rate))
    live = LiveRecording(predictor, rate)
    for heard in arrive(live, content, 0.2, rate):
        n_bytes = 2 * round(heard.seconds * rate)
        whole = LiveRecording(predictor, rate)
        whole.add(content[:n_bytes])
        expected = at_once(whole.finish()).stretches
        if heard.seconds < 5.8:  # then the first one is settled
            assert [{**row, "ended": None} for row in heard.stretches] == [
                pytest.approx({**row, "ended": None}, abs=2e-3) for row in expected
            ]
        assert [row["start"] for row in heard.stretches] == [row["start"] for row in expected]
    assert [row["ended"] for row in heard.stretches] == [True] * 3


def test_a_stretch_has_ended_when_a_pause_follows(predictor):
    heard = arrive(LiveRecording(predictor, RATE), pcm(sound((2, 0), (1, 0.1), (1, 0))), 0.1, RATE)
    for result in heard:
        ended = [row["ended"] for row in result.stretches]
        if min(abs(result.seconds - at) for at in (2, 3.3)) > 0.1:
            assert ended == ([] if result.seconds < 2 else [result.seconds > 3.3]), result
    assert [result.seconds for result in heard] == pytest.approx([0.1 * n for n in range(1, 41)], abs=0.1)


def test_speech_without_a_pause_costs_no_more_the_longer_it_lasts(predictor, monkeypatch):
    embedded = []
    embed = predictor.network.embed
    monkeypatch.setattr(predictor.network, "embed", lambda inputs: embedded.append(len(inputs)) or embed(inputs))
    heard = arrive(LiveRecording(predictor, RATE), pcm(sound((1, 1e-4), (90, 0.1))), 0.4, RATE)
    assert max(embedded) <= 4
    assert heard[-1].stretches[0]["start"] > 25  # the last minute
    for row, other in pairwise(heard[-1].stretches):
        assert row["end"] == other["start"] and 1 < row["end"] - row["start"] < 3.3
    spans, before = ({(row["start"], row["end"]) for row in each.stretches} for each in (heard[-1], heard[-20]))
    assert {(start, end) for start, end in before if start > 40 and end < heard[-20].seconds - 5} <= spans  # they stay


def test_a_voice_is_adapted_to_from_the_fifth_stretch_on_and_can_be_forgotten(predictor, monkeypatch):
    content = pcm(sound(*[(1, 0.1), (1, 1e-4)] * 7))
    live, plain = LiveRecording(predictor, RATE), LiveRecording(predictor, RATE)
    pairs = zip(arrive(live, content, 1, RATE, adapt=True), arrive(plain, content, 1, RATE), strict=True)
    for adapted, other in pairs:
        same = [row["calm"] for row in adapted.stretches] == [row["calm"] for row in other.stretches]
        assert adapted.is_adapted == (not same) == (len(other.stretches) >= FEWEST_TO_ADAPT)
    live.forget_voice()
    assert not at_once(live.update(adapt=True)).is_adapted
    assert arrive(live, content, 1, RATE, adapt=True)[-1].is_adapted
    monkeypatch.setattr(Voices, "one_sided", lambda _: {("", 0)})  # one emotion prevails
    assert not at_once(live.update(adapt=True)).is_adapted
    monkeypatch.undo()
    adapted, other = (at_once(plain.finish(adapt=each)).stretches for each in (True, False))
    assert [row["calm"] for row in adapted] != [row["calm"] for row in other]


def test_silence_and_nothing_at_all_have_no_rows(predictor):
    for content in (b"", bytes(2), bytes(3 * 2 * RATE)):
        live = LiveRecording(predictor, RATE)
        live.add(content)
        assert at_once(live.update()).stretches == []
        assert at_once(live.finish()).rows[0]["error"] in ("too short", "silent")
