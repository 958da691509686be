"""Files of every kind, whole and damaged, made by other programs' libraries."""

import io
import os
import socket
import stat
import struct
from pathlib import Path
from tempfile import TemporaryFile

import av
import numpy as np
import pytest
import soundfile
from recordings import encode, encoded, encoded_noise, likeness, read, voice

from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.audio.resampling import load_audio

RATE = 48_000
VOICE = voice()


@pytest.mark.parametrize("rate", [4_000, 11_127, 44_101, 384_000])
def test_every_sample_rate(tmp_path, rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * rate) / rate)
    soundfile.write(tmp_path / "a.wav", tone, rate)
    spectrum = np.abs(np.fft.rfft(load_audio(tmp_path / "a.wav", RATE).numpy(), 4 * RATE))
    assert spectrum.argmax() == 4 * 440 and spectrum.max() == pytest.approx(0.25 * 4 * RATE, rel=0.01)


def wav(changed: dict[int, bytes], samples: np.ndarray = VOICE, subtype: str = "PCM_16") -> bytes:
    """A WAV file with bytes changed at some positions of its header."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype=subtype)
    content = bytearray(file.getvalue())
    for position, value in changed.items():
        content[position : position + len(value)] = value
    return bytes(content)


def film() -> bytes:
    """Of an .mp4 without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        output.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(video.encode(None))
    return file.getvalue()


M4A = encoded("a aac ipod 48000", VOICE)
BROKEN = {  # content, and a part of the sentence about it
    "header only": (wav({})[:44], ""),
    "half a header": (wav({})[:20], ""),
    "text": (b"this is not audio\n" * 100, ""),
    "random": (np.random.default_rng(0).bytes(100_000), ""),
    "unknown codec": (wav({20: b"\x99\x99"}), ""),  # found by fuzzing: PyAV crashes when it decodes without a codec
    "rate of 0": (wav({24: bytes(4)}), ""),
    "rate of 1": (wav({24: struct.pack("<I", 1)}), ""),  # declares hours of sound
    "all NaN": (wav({}, np.full(RATE, np.nan), "FLOAT"), ""),
    "all infinite": (wav({}, np.full(RATE, -np.inf), "FLOAT"), ""),
    "beyond float32": (wav({}, np.full(RATE, 1e30), "FLOAT"), ""),
    "playlist": (b"ffconcat version 1.0\nfile other.wav\n", ""),  # FFmpeg would open what it names, or a server
    "nothing": (b"", "it is empty"),
    "zeros": (bytes(100_000), "it begins with zeros only"),
    "web page": (b"\xef\xbb\xbf\n<!DOCTYPE HTML><title>Sign in</title>", "it is a web page"),
    "ZIP": (b"PK\x03\x04" + bytes(26) + b"a.mp3" + encoded_noise(4, format="MP3"), "ZIP archive: unpack it first"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "SILK": (b"\x02#!SILK_V3" + bytes(range(256)), "it is in SILK (a voice message of WeChat or QQ)"),
    "DS2": (b"\x03ds2" + bytes(2000), "it is in DS2 (a dictation)"),
    "protected": (M4A.replace(b"mp4a", b"drms"), "it is protected"),
    "encrypted": (M4A.replace(b"mp4a", b"enca"), "it is protected"),
    "cut MP4": (M4A.partition(b"moov")[0], "moov atom not found"),
    "silent film": (film(), "it has no sound track"),
}
ODD_PLACES = {
    "folder": Path.mkdir,
    "dangling link": lambda path: path.symlink_to("nowhere.wav"),
    "link to itself": lambda path: path.symlink_to(path),
    "pipe": os.mkfifo,  # that nothing is ever written to: reading must not wait
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    "missing": lambda path: None,
    "no permission": lambda path: path.touch(mode=stat.S_IWUSR),
}


@pytest.mark.parametrize("name", [*BROKEN, *ODD_PLACES])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.wav"
    (tmp_path / "other.wav").write_bytes(wav({}))
    content, sentence = BROKEN.get(name, (None, ""))
    if content is None:
        ODD_PLACES[name](path)
    else:
        path.write_bytes(content)
    with pytest.raises(AudioError, match="^cannot read: ") as error:
        list(read_pieces(path))
    assert sentence in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_file_without_readable_name_is_read_and_its_error_can_be_printed(tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b"/\xff\n.wav")
    Path(name).write_bytes(encoded_noise(4, format="WAV"))
    assert len(load_audio(name, RATE)) == 4 * RATE
    Path(name).write_text("no longer")
    with pytest.raises(AudioError, match="^cannot read: ") as error:
        load_audio(name, RATE)
    str(error.value).encode("utf-8")


@pytest.mark.parametrize("format", ["WAV", "OGG"])
def test_an_open_file_without_a_name_is_read_from_its_start_each_time(tmp_path, format):
    (tmp_path / "a").write_bytes(encoded_noise(4, format=format))
    with TemporaryFile() as file:
        file.write(encoded_noise(4, format=format))
        for _ in range(2):
            ((samples, _),) = read_pieces(file)
            ((expected, _),) = read_pieces(tmp_path / "a")
            assert np.array_equal(samples, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_a_few_impossible_samples_are_silence_and_damage(tmp_path, value):
    samples = np.repeat(VOICE[:, None], 2, axis=1)
    samples[1000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    samples[1000, 1] = 0
    info = RecordingInfo()
    ((read, _),) = read_pieces(tmp_path / "a.wav", channels="each", info=info)
    assert np.array_equal(read, samples)
    assert info == RecordingInfo(n_channels=2, is_damaged=True)


def test_more_channels_than_can_be_told_apart_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((4 * 16_000, 1024)), 16_000)
    assert load_audio(tmp_path / "a.wav", 16_000).shape == (4 * 16_000,)
    with pytest.raises(AudioError, match="it has 1024 channels; at most 64 can be told apart"):
        load_audio(tmp_path / "a.wav", 16_000, channels="each")


def test_the_first_track_that_can_be_decoded_is_read(tmp_path):
    """As in films of an iPhone: spatial sound in a codec that FFmpeg does not know, then AAC."""
    encode(tmp_path / "a.mov", [VOICE[::-1].copy(), VOICE], "aac", rate=16_000)
    content = (tmp_path / "a.mov").read_bytes()
    (tmp_path / "a.mov").write_bytes(content.replace(b"mp4a", b"apac", 1).replace(b"esds", b"dapa", 1))
    waveform, info = read(tmp_path / "a.mov")
    assert likeness(waveform, VOICE) > 0.9 and info == RecordingInfo(n_tracks=2)
    with pytest.raises(AudioError, match="the codec of its sound track is unknown"):
        load_audio(tmp_path / "a.mov", 16_000, track=1)
