"""Samples are placed by the time stamps of the container."""

import struct

import av
import numpy as np
import pytest
from recordings import RATE, encode, likeness, make, voice

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.audio.resampling import load_audio, stream_audio

VOICE = voice()
# name, codec, container, rate
FILMS = """
a.mkv aac - 44100
a.mp4 aac - 44100
a.mov aac - 44100
a.webm libopus - 48000
a.ts mp2 - 48000
a.mpg mp2 - 48000
a.flv aac - 44100
a.asf wmav2 - 44100
""".strip().splitlines()


@pytest.mark.parametrize("kind", [kind for kind in FILMS if "webm" not in kind])
def test_sound_that_begins_after_the_picture_begins_late(tmp_path, kind):
    waveform = load_audio(make(tmp_path, kind, VOICE, later=lambda seconds: 5, picture=True), RATE).numpy()
    assert abs(waveform[: round(4.9 * RATE)]).max() < 1e-6 and likeness(waveform[5 * RATE :], VOICE) > 0.98


@pytest.mark.parametrize("kind", FILMS)
def test_a_gap_in_the_time_stamps_is_silence(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, later=lambda seconds: 9 * (seconds > 2), picture="webm" not in kind)
    info = RecordingInfo()
    waveform = load_audio(path, RATE, info=info).numpy()
    assert abs(len(waveform) / RATE - 13) < 0.1 and not info.is_damaged
    assert likeness(waveform[: round(1.9 * RATE)], VOICE) > 0.98
    assert abs(waveform[round(2.2 * RATE) : round(10.9 * RATE)]).max() < 1e-6
    assert likeness(waveform[round(11.2 * RATE) :], VOICE[round(2.2 * RATE) :]) > 0.98
    assert np.allclose(np.concatenate(list(stream_audio(path, RATE))), waveform, atol=1e-5)


def test_the_pauses_of_a_codec_that_is_silent_in_pauses_do_not_add_up(tmp_path):
    """One packet of 20 ms every 100 ms in the second half of each second, as Opus does when nobody speaks."""
    seconds = 60
    sound = np.tile(VOICE, seconds // 4)
    encode(tmp_path / "all.mka", sound, "libopus", rate=48_000)
    with av.open(str(tmp_path / "all.mka")) as source, av.open(str(tmp_path / "some.webm"), "w") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            at = 0 if packet.pts is None else float(packet.pts * packet.time_base)
            if packet.size and (at % 1 < 0.5 or round(at % 0.1, 3) < 0.02):
                packet.stream = stream
                output.mux(packet)
    waveform = load_audio(tmp_path / "some.webm", RATE).numpy()
    assert abs(len(waveform) / RATE - seconds) < 0.6
    for second in range(0, seconds - 1, 7):
        part = slice(round(second * RATE), round((second + 0.45) * RATE))
        assert likeness(waveform[part], sound[part], 0.05) > 0.95


def test_restarted_time_stamps_lose_no_sound_and_later_gaps_count(tmp_path):
    first = make(tmp_path, "a.ts mp2 - 48000", VOICE)
    second = make(tmp_path, "b.ts mp2 - 48000", VOICE, later=lambda seconds: 3 * (seconds > 2))
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    waveform = load_audio(tmp_path / "joined.ts", RATE).numpy()
    assert abs(len(waveform) / RATE - 11) < 0.1
    assert likeness(waveform[: 4 * RATE], VOICE) > 0.98
    assert likeness(waveform[round(9.2 * RATE) :], VOICE[round(2.2 * RATE) :]) > 0.98


@pytest.mark.parametrize("kind", ["a.ts mp2 - 48000", "a.mpg mp2 - 48000"])
def test_a_clock_that_may_jump_adds_no_silence(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, later=lambda seconds: 1197 * (seconds > 2))
    info = RecordingInfo()
    waveform = load_audio(path, RATE, info=info).numpy()
    assert likeness(waveform, VOICE) > 0.98 and info == RecordingInfo()


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le"])
def test_an_avi_whose_sound_starts_late(tmp_path, codec):
    """The header of the stream says how many of its units to wait; FFmpeg's own writer does not use that."""
    path = make(tmp_path, f"a.avi {codec} - 44100", VOICE, picture=True)
    content = bytearray(path.read_bytes())
    position = content.find(b"auds") + 20
    unit, rate = struct.unpack_from("<II", content, position)
    struct.pack_into("<I", content, position + 8, round(3 * rate / unit))
    path.write_bytes(content)
    waveform = load_audio(path, RATE).numpy()
    assert abs(waveform[: round(2.9 * RATE)]).max() < 1e-6 and likeness(waveform[3 * RATE :], VOICE) > 0.98


@pytest.mark.parametrize("gap", [5000, 10**7])
def test_an_absurd_gap_is_treated_as_damage_and_adds_no_silence(tmp_path, gap):
    info = RecordingInfo()
    path = make(tmp_path, "a.mkv aac - 44100", VOICE, later=lambda seconds: gap * (seconds > 2))
    waveform = load_audio(path, RATE, info=info).numpy()
    assert likeness(waveform, VOICE) > 0.98 and info.is_damaged
