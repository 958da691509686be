"""Recordings that can only be decoded in part are reported as damaged; tags and padding are not damage."""

import numpy as np
import pytest
from recordings import RATE, likeness, make, voice

from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.audio.resampling import load_audio

VOICE = voice(20)

# name, codec, container, rate
KINDS = """
a.wav pcm_s16le wav 16000
a.flac flac flac 16000
a.aiff pcm_s16be aiff 16000
a.mp3 libmp3lame mp3 44100
a.ogg libvorbis ogg 44100
a.opus libopus opus 48000
a.m4a aac ipod 44100
a.mkv aac matroska 48000
a.webm libopus webm 48000
a.avi libmp3lame avi 44100
""".strip().splitlines()


def read(path) -> tuple[np.ndarray, bool]:
    info = RecordingInfo()
    return load_audio(path, RATE, info=info).numpy(), info.is_damaged


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_is_damaged(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, options={"movflags": "faststart"})
    content = path.read_bytes()
    assert not read(path)[1]
    path.write_bytes(content[: round(0.9 * len(content))])
    waveform, is_damaged = read(path)
    assert is_damaged and abs(len(waveform) / RATE - 18) < 1.5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "pcm" not in kind and "avi" not in kind])
def test_sound_after_a_damaged_part_is_read_at_its_place(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 10] = np.random.default_rng(1).bytes(len(content) // 10)
    path.write_bytes(content)
    waveform, is_damaged = read(path)
    assert is_damaged
    assert likeness(waveform[: 4 * RATE], VOICE[: 4 * RATE]) > 0.9
    assert likeness(waveform[-3 * RATE :], VOICE[-3 * RATE :]) > 0.9


@pytest.mark.parametrize("kind", ["a.mp3 libmp3lame mp3 44100", "a.aac aac adts 48000", "a.flac flac flac 16000"])
def test_tags_and_padding_at_the_end_are_not_damage(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, options={"movflags": "faststart"})
    content, expected = path.read_bytes(), read(path)[0]
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (2032).to_bytes(4, "little") + bytes(12) + b"x" * 2000
    for tail in (b"TAG" + bytes(125), ape, bytes(5000)):
        path.write_bytes(content + tail)
        waveform, is_damaged = read(path)
        assert not is_damaged and len(waveform) == len(expected)


@pytest.mark.parametrize("kind", ["a.mp3 libmp3lame mp3 44100", "a.aac aac adts 48000", "a.ts mp2 mpegts 48000"])
def test_a_stream_joined_within_a_frame_is_not_damaged(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[40_021:])
    waveform, is_damaged = read(path)
    assert not is_damaged and len(waveform) > 10 * RATE
