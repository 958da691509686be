"""Recordings in every kind of container: their channels, clock and damage, joined and cut."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile
from recordings import RATE, encode, likeness, make, read, voice

from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.audio.resampling import load_audio, stream_audio

VOICE, OTHER, SECOND, LONG = voice(), voice(seed=1), voice(3, seed=1), voice(20)
SILENCE = np.zeros_like(VOICE)
TURN = (np.arange(len(VOICE)) // RATE % 2).astype(np.float32)  # each speaks for a second
LEFT, RIGHT = TURN * VOICE, (1 - TURN) * OTHER

# name, codec, container, rate in Hz
KINDS = """
a.aac aac adts 48000
a.ac3 ac3 ac3 48000
a.aiff pcm_s16be aiff 16000
a.amr libopencore_amrnb amr 8000
a.asf wmav2 asf 44100
a.au pcm_s16be au 16000
a.avi libmp3lame avi 44100
a.flac flac flac 16000
a.flv aac flv 44100
a.m4a aac ipod 44100
a.mkv aac matroska 44100
a.mov aac mov 44100
a.mp3 libmp3lame mp3 44100
a.mp4 aac mp4 44100
a.mpg mp2 mpeg 48000
a.oga flac oga 16000
a.ogg libvorbis ogg 44100
a.opus libopus opus 48000
a.spx libspeex spx 16000
a.ts mp2 mpegts 48000
a.tta tta tta 16000
a.voc pcm_s16le voc 16000
a.w64 pcm_s16le w64 16000
a.wav pcm_s16le wav 16000
a.webm libopus webm 48000
"""
KIND_OF = {line.split()[0][2:]: line for line in KINDS.strip().splitlines()}


def of_each(endings: str):
    return pytest.mark.parametrize("kind", [KIND_OF[ending] for ending in endings.split()])


def stereo(left, right) -> np.ndarray:
    return np.stack([left, right], axis=1).astype(np.float32)


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov", "ts"])
def test_the_default_track_is_read_and_any_other_if_asked(tmp_path, container):
    path = tmp_path / f"a.{container}"
    encode(path, [SILENCE, VOICE, OTHER], "aac", rate=48_000, picture=True, default=1)
    if container != "ts":  # which has no such flag
        waveform, info = read(path)
        assert likeness(waveform, VOICE) > 0.98 and info.n_tracks == 3
    for track, expected in ((2, VOICE), (3, OTHER)):
        assert likeness(load_audio(path, RATE, track=track).numpy(), expected) > 0.98
    assert load_audio(path, RATE, track=1).abs().max() < 1e-3
    with pytest.raises(AudioError, match=r"^cannot read: FFmpeg: it has 3 audio tracks, and no track 4$"):
        load_audio(path, RATE, track=4)


@pytest.mark.parametrize("encoding", ["a.wav pcm_s16le", "a.m4a aac", "a.mp3 libmp3lame", "a.flac flac"])
def test_a_voice_with_opposite_signs_is_heard(tmp_path, encoding):
    name, codec = encoding.split()
    encode(tmp_path / name, stereo(VOICE, -VOICE), codec, rate=48_000)
    waveform, info = read(tmp_path / name)
    assert abs(likeness(waveform, VOICE)) > 0.98 or likeness(-waveform, VOICE) > 0.98
    assert info.n_channels == 2 and not info.channels_differ


def test_each_channel_is_read_separately(tmp_path):
    encode(tmp_path / "call.m4a", stereo(LEFT, RIGHT), "aac", rate=44_100, bit_rate=128_000)
    (left, right), info = read(tmp_path / "call.m4a", channels="each")
    assert likeness(left, LEFT) > 0.98 < likeness(right, RIGHT)
    assert info == RecordingInfo(n_channels=2, channels_differ=True, channels_unrelated=True)


CHANNELS = {  # left, right, and whether they differ
    "call": (LEFT, RIGHT, True),
    "call with crosstalk": (LEFT + 0.1 * RIGHT, RIGHT + 0.1 * LEFT, True),
    "one voice": (VOICE, VOICE, False),
    "faint copy": (VOICE, 0.05 * VOICE, False),
    "one channel": (VOICE, SILENCE, False),
    "opposite signs": (VOICE, -VOICE, False),
}


@pytest.mark.parametrize("codec", ["flac", "libmp3lame", "ac3"])
@pytest.mark.parametrize("name", CHANNELS)
def test_two_voices_differ_and_one_voice_in_two_noisy_channels_does_not(tmp_path, codec, name):
    left, right, differ = CHANNELS[name]
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(len(VOICE), 2))
    encode(tmp_path / "a.mka", stereo(left, right) + noise, codec, "matroska", 48_000, bit_rate=64_000)
    assert read(tmp_path / "a.mka")[1].channels_differ == differ


def test_if_the_number_of_channels_changes_each_gets_the_mix(tmp_path):
    for name, sound in (("a.mp3", stereo(VOICE, SILENCE)), ("b.mp3", OTHER)):
        encode(tmp_path / name, sound, "libmp3lame", rate=44_100, options={"write_xing": "0"})
    (tmp_path / "ab.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes())
    (left, right), info = read(tmp_path / "ab.mp3", channels="each")
    assert likeness(left[: len(VOICE)], VOICE) > 0.9 and np.abs(right[: 3 * RATE]).max() < 0.01
    assert likeness(left[-len(OTHER) :], OTHER) > 0.9 < likeness(right[-len(OTHER) :], OTHER)
    assert info.n_channels == 2


@of_each("mkv mp4 mov ts mpg flv asf")
def test_sound_that_begins_after_the_picture_begins_late(tmp_path, kind):
    waveform, _ = read(make(tmp_path, kind, VOICE, later=lambda seconds: 5, picture=True))
    assert abs(waveform[: round(4.9 * RATE)]).max() < 1e-6 and likeness(waveform[5 * RATE :], VOICE) > 0.98


@of_each("mkv mp4 mov ts mpg flv asf webm")
def test_a_gap_in_the_time_stamps_is_silence(tmp_path, kind):
    path = make(tmp_path, kind, VOICE, later=lambda seconds: 9 * (seconds > 2), picture="webm" not in kind)
    waveform, info = read(path)
    assert abs(len(waveform) / RATE - 13) < 0.1 and not info.is_damaged
    assert likeness(waveform[: round(1.9 * RATE)], VOICE) > 0.98
    assert abs(waveform[round(2.2 * RATE) : round(10.9 * RATE)]).max() < 1e-6
    assert likeness(waveform[round(11.2 * RATE) :], VOICE[round(2.2 * RATE) :]) > 0.98
    assert np.allclose(np.concatenate(list(stream_audio(path, RATE))), waveform, atol=1e-5)


@pytest.mark.parametrize(
    ("ending", "gap_s", "is_damaged"),
    [("mkv", 5000, True), ("mkv", 10**7, True), ("ts", 1197, False), ("mpg", 1197, False)],
)
def test_an_absurd_gap_or_a_clock_that_may_jump_adds_no_silence(tmp_path, ending, gap_s, is_damaged):
    path = make(tmp_path, KIND_OF[ending], VOICE, later=lambda seconds: gap_s * (seconds > 2))
    waveform, info = read(path)
    assert likeness(waveform, VOICE) > 0.98 and info == RecordingInfo(is_damaged=is_damaged)


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
    waveform, _ = read(tmp_path / "some.webm")
    assert abs(len(waveform) / RATE - seconds) < 0.6
    for second in range(0, seconds - 1, 7):
        part = slice(round(second * RATE), round((second + 0.45) * RATE))
        assert likeness(waveform[part], sound[part], 0.05) > 0.95


def test_restarted_time_stamps_lose_no_sound_and_later_gaps_count(tmp_path):
    first = make(tmp_path, KIND_OF["ts"], VOICE).read_bytes()
    second = make(tmp_path, KIND_OF["ts"], VOICE, later=lambda seconds: 3 * (seconds > 2)).read_bytes()
    (tmp_path / "joined.ts").write_bytes(first + second)
    waveform, _ = read(tmp_path / "joined.ts")
    assert abs(len(waveform) / RATE - 11) < 0.1
    assert likeness(waveform[: 4 * RATE], VOICE) > 0.98
    assert likeness(waveform[round(9.2 * RATE) :], VOICE[round(2.2 * RATE) :]) > 0.98


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le"])
def test_an_avi_whose_sound_starts_late(tmp_path, codec):
    """The header of the stream says how many of its units to wait; FFmpeg's own writer does not use that."""
    path = make(tmp_path, f"a.avi {codec} - 44100", VOICE, picture=True)
    content = bytearray(path.read_bytes())
    position = content.find(b"auds") + 20
    unit, rate = struct.unpack_from("<II", content, position)
    struct.pack_into("<I", content, position + 8, round(3 * rate / unit))
    path.write_bytes(content)
    waveform, _ = read(path)
    assert abs(waveform[: round(2.9 * RATE)]).max() < 1e-6 and likeness(waveform[3 * RATE :], VOICE) > 0.98


def long_recording(folder, kind: str) -> tuple:
    """Its path and content, with the index of an MP4 before the sound."""
    path = make(folder, kind, LONG, options={"movflags": "faststart"})
    return path, bytearray(path.read_bytes())


@of_each("wav flac aiff mp3 ogg opus m4a mkv webm avi")
def test_a_file_that_was_cut_is_damaged(tmp_path, kind):
    path, content = long_recording(tmp_path, kind)
    assert not read(path)[1].is_damaged
    path.write_bytes(content[: round(0.9 * len(content))])
    waveform, info = read(path)
    assert info.is_damaged and abs(len(waveform) / RATE - 18) < 1.5


@of_each("flac mp3 ogg opus m4a mkv webm")
def test_sound_after_a_damaged_part_is_read_at_its_place(tmp_path, kind):
    path, content = long_recording(tmp_path, kind)
    middle = len(content) // 2
    content[middle : middle + len(content) // 10] = np.random.default_rng(1).bytes(len(content) // 10)
    path.write_bytes(content)
    waveform, info = read(path)
    assert info.is_damaged
    assert likeness(waveform[: 4 * RATE], LONG[: 4 * RATE]) > 0.9
    assert likeness(waveform[-3 * RATE :], LONG[-3 * RATE :]) > 0.9


@of_each("mp3 aac flac")
def test_tags_and_padding_at_the_end_are_not_damage(tmp_path, kind):
    path, content = long_recording(tmp_path, kind)
    expected, _ = read(path)
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (2032).to_bytes(4, "little") + bytes(12) + b"x" * 2000
    for tail in (b"TAG" + bytes(125), ape, bytes(5000)):
        path.write_bytes(content + tail)
        waveform, info = read(path)
        assert not info.is_damaged and len(waveform) == len(expected)


@of_each("mp3 aac ts")
def test_a_stream_joined_within_a_frame_is_not_damaged(tmp_path, kind):
    path, content = long_recording(tmp_path, kind)
    path.write_bytes(content[40_021:])
    waveform, info = read(path)
    assert not info.is_damaged and len(waveform) > 10 * RATE


@of_each("mp3 opus ogg oga spx flac au aac ac3 amr mkv webm ts mpg")
def test_formats_that_can_be_joined_are_read_to_the_end(tmp_path, kind):
    first, second = (make(tmp_path, kind, sound).read_bytes() for sound in (VOICE, SECOND))
    path = tmp_path / kind.split()[0]
    path.write_bytes(first + second)
    waveform, info = read(path)
    has_second_header = "spx" in kind or "amr" in kind  # which cannot be decoded
    assert abs(len(waveform) / RATE - 7) < 0.2 and info == RecordingInfo(is_damaged=has_second_header)
    least = 0.7 if "amr" in kind else 0.9
    assert likeness(waveform[: len(VOICE)], VOICE) > least
    assert likeness(waveform[-2 * RATE :], SECOND[-2 * RATE :], 0.2) > least


@of_each("wav aiff w64 voc tta m4a flv asf")
def test_bytes_after_the_declared_end_are_ignored_and_counted(tmp_path, kind):
    content, other = (make(tmp_path, kind, sound).read_bytes() for sound in (VOICE, SECOND))
    path = tmp_path / kind.split()[0]
    for tail in (b"", other):
        path.write_bytes(content + tail)
        waveform, info = read(path)
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
    waveform, info = read(tmp_path / "a.mp3")
    assert abs(len(waveform) / RATE - 40) < 0.2 and not info.is_damaged
    assert likeness(waveform[30 * RATE :], noise) > 0.8
    with soundfile.SoundFile(tmp_path / "a.mp3") as guess:
        assert guess.frames != len(waveform)


def test_each_part_of_a_stream_has_its_own_rate_and_channels(tmp_path):
    encode(tmp_path / "a.aac", VOICE, "aac", "adts", 48_000)
    encode(tmp_path / "b.aac", stereo(SECOND, SECOND), "aac", "adts", 44_100)
    (tmp_path / "ab.aac").write_bytes((tmp_path / "a.aac").read_bytes() + (tmp_path / "b.aac").read_bytes())
    info = RecordingInfo()
    assert {rate for _, rate in read_pieces(tmp_path / "ab.aac", info=info)} == {48_000, 44_100}
    assert info == RecordingInfo(n_channels=2)
    for channels in ("mix", "each"):
        waveform, _ = read(tmp_path / "ab.aac", channels=channels)
        pieces = list(stream_audio(tmp_path / "ab.aac", RATE, channels=channels))
        assert np.allclose(np.concatenate(pieces, axis=-1), waveform, atol=1e-5)
        mono = waveform if channels == "mix" else waveform[0]
        assert waveform.ndim == 1 or len(waveform) == 1
        assert abs(len(mono) / RATE - 7) < 0.1
        assert likeness(mono[: len(VOICE)], VOICE) > 0.98 < likeness(mono[len(VOICE) :], SECOND, 0.15)


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_that_was_written_to_a_pipe_is_read_to_the_end(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", VOICE, RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    waveform, info = read(tmp_path / "a.wav")
    assert likeness(waveform, VOICE, 0) > 0.999 and len(waveform) == len(VOICE) and info == RecordingInfo()


@pytest.mark.parametrize("declared", [0, RATE, 1000 * RATE])
def test_flac_with_any_length_in_its_header(tmp_path, declared):
    soundfile.write(tmp_path / "a.flac", VOICE, RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | declared).to_bytes(8, "big")
    expected, _ = read(tmp_path / "a.flac")
    (tmp_path / "a.flac").write_bytes(content)
    assert np.array_equal(read(tmp_path / "a.flac")[0], expected)
