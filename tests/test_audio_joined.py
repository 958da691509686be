"""What FFmpeg reads to the end is read to the end; elsewhere, what follows the declared end is counted."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile
from recordings import RATE, encode, likeness, make, voice

from speech_emotion.audio.reading import RecordingInfo, read_pieces
from speech_emotion.audio.resampling import load_audio, stream_audio

VOICE = voice()
OTHER = voice(3, seed=1)
BOTH = np.concatenate([VOICE, OTHER])

# name, codec, container, rate
READ_ON = """
a.mp3 libmp3lame mp3 44100
a.opus libopus opus 48000
a.ogg libvorbis ogg 44100
a.oga flac oga 16000
a.spx libspeex spx 16000
a.flac flac flac 16000
a.au pcm_s16be au 16000
a.aac aac adts 48000
a.ac3 ac3 ac3 48000
a.amr libopencore_amrnb amr 8000
a.mkv aac matroska 48000
a.webm libopus webm 48000
a.ts mp2 mpegts 48000
a.mpg mp2 mpeg 48000
""".strip().splitlines()
ENDED = """
a.wav pcm_s16le wav 16000
a.aiff pcm_s16be aiff 16000
a.w64 pcm_s16le w64 16000
a.voc pcm_s16le voc 16000
a.tta tta tta 16000
a.m4a aac ipod 44100
a.flv aac flv 44100
a.wma wmav2 asf 44100
""".strip().splitlines()


@pytest.mark.parametrize("kind", READ_ON)
def test_formats_that_can_be_joined_are_read_to_the_end(tmp_path, kind):
    first, second = (make(tmp_path, kind, sound).read_bytes() for sound in (VOICE, OTHER))
    path = tmp_path / kind.split()[0]
    path.write_bytes(first + second)
    info = RecordingInfo()
    waveform = load_audio(path, RATE, info=info).numpy()
    has_second_header = "spx" in kind or "amr" in kind  # which cannot be decoded
    assert abs(len(waveform) / RATE - 7) < 0.2 and info == RecordingInfo(is_damaged=has_second_header)
    least = 0.7 if "amr" in kind else 0.9
    assert likeness(waveform[: len(VOICE)], VOICE) > least
    assert likeness(waveform[-2 * RATE :], OTHER[-2 * RATE :], 0.2) > least


@pytest.mark.parametrize("kind", ENDED)
def test_bytes_after_the_declared_end_are_ignored_and_counted(tmp_path, kind):
    content, other = (make(tmp_path, kind, sound).read_bytes() for sound in (VOICE, OTHER))
    path = tmp_path / kind.split()[0]
    for tail in (b"", other):
        path.write_bytes(content + tail)
        info = RecordingInfo()
        waveform = load_audio(path, RATE, info=info).numpy()
        assert abs(len(waveform) / RATE - 4) < 0.05 and likeness(waveform, VOICE) > 0.9
        assert not info.is_damaged and len(tail) <= info.n_ignored <= 1.2 * len(tail)


def test_vbr_mp3_without_a_header_that_says_its_length(tmp_path):
    """Half a minute of silence in small packets and then noise in large ones, which misleads estimates of length."""
    noise = np.random.default_rng(0).normal(scale=0.2, size=10 * RATE).astype(np.float32)
    sound = np.concatenate([noise, np.zeros(20 * RATE, np.float32), noise])
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.codec_context.options = {"flags": "+qscale", "global_quality": "236"}
        frame = av.AudioFrame.from_ndarray((sound[None] * 20_000).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        for part in av.AudioResampler(stream.format, "mono", RATE, stream.frame_size).resample(frame):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    content = file.getvalue()
    assert b"Xing" not in content and b"Info" not in content
    (tmp_path / "a.mp3").write_bytes(content)
    info = RecordingInfo()
    waveform = load_audio(tmp_path / "a.mp3", RATE, info=info).numpy()
    assert abs(len(waveform) / RATE - 40) < 0.2 and not info.is_damaged
    assert likeness(waveform[30 * RATE :], noise) > 0.8
    with soundfile.SoundFile(tmp_path / "a.mp3") as guess:
        assert guess.frames != len(waveform)


def test_each_part_of_a_stream_has_its_own_rate_and_channels(tmp_path):
    encode(tmp_path / "a.aac", VOICE, "aac", "adts", 48_000)
    encode(tmp_path / "b.aac", np.stack([OTHER, OTHER], axis=1), "aac", "adts", 44_100)
    (tmp_path / "ab.aac").write_bytes((tmp_path / "a.aac").read_bytes() + (tmp_path / "b.aac").read_bytes())
    info = RecordingInfo()
    assert {rate for _, rate in read_pieces(tmp_path / "ab.aac", info=info)} == {48_000, 44_100}
    assert info == RecordingInfo(n_channels=2)
    for channels in ("mix", "each"):
        waveform = load_audio(tmp_path / "ab.aac", RATE, channels=channels).numpy()
        pieces = list(stream_audio(tmp_path / "ab.aac", RATE, channels=channels))
        assert np.allclose(np.concatenate(pieces, axis=-1), waveform, atol=1e-5)
        mono = waveform if channels == "mix" else waveform[0]
        assert waveform.ndim == 1 or len(waveform) == 1
        assert abs(len(mono) / RATE - 7) < 0.1
        assert likeness(mono[: len(VOICE)], VOICE) > 0.98 < likeness(mono[len(VOICE) :], OTHER, 0.15)


@pytest.mark.parametrize(("size", "riff_size"), [(0, 0), (0x7FFF_FFFF, 0x7FFF_FFFF), (0xFFFF_FFFF, 0xFFFF_FFFF)])
def test_a_wav_that_was_written_to_a_pipe_is_read_to_the_end(tmp_path, size, riff_size):
    soundfile.write(tmp_path / "a.wav", VOICE, RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8], content[40:44] = struct.pack("<I", riff_size), struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    info = RecordingInfo()
    assert likeness(load_audio(tmp_path / "a.wav", RATE, info=info).numpy(), VOICE, 0) > 0.999
    assert len(load_audio(tmp_path / "a.wav", RATE)) == len(VOICE) and info == RecordingInfo()


@pytest.mark.parametrize("declared", [0, RATE, 1000 * RATE])
def test_flac_with_any_length_in_its_header(tmp_path, declared):
    soundfile.write(tmp_path / "a.flac", VOICE, RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | declared).to_bytes(8, "big")
    expected = load_audio(tmp_path / "a.flac", RATE)
    (tmp_path / "a.flac").write_bytes(content)
    assert np.array_equal(load_audio(tmp_path / "a.flac", RATE), expected)
