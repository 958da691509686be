"""Recordings in every container and codec that FFmpeg writes here: found, read whole, damaged, joined and cut."""

import struct

import av
import numpy as np
import pytest
import soundfile
from av.codec.context import Flags
from recordings import RATE, encode, likeness, make, read, voice

from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.audio.resampling import load_audio

VOICE, OTHER, SECOND, LONG = voice(), voice(seed=1), voice(3, seed=1), voice(20)
SILENCE = np.zeros_like(VOICE)
TURN = (np.arange(len(VOICE)) // RATE % 2).astype(np.float32)  # each speaks for a second
LEFT, RIGHT = TURN * VOICE, (1 - TURN) * OTHER

LOSSLESS = "alac", "flac", "pcm", "tta", "wavpack"
FILMS = ".avi", ".mkv", ".mov", ".mp4", ".mpg", ".vob"
LEAST = {"a.amr": 0.7}  # likeness; this codec is coarse

# name, codec, FFmpeg's name of the container where the ending does not say it, rate in Hz, channels
KINDS = """
a.3g2 aac - 16000 1
a.aac aac adts 48000 2
a.ac3 ac3 - 48000 1
a.aif pcm_s24be aiff 16000 1
a.aiff pcm_s16be - 16000 1
a.al pcm_alaw alaw 8000 1
a.amr libopencore_amrnb - 8000 1
a.asf wmav2 - 44100 2
a.au pcm_s16be - 16000 1
a.au pcm_mulaw - 8000 1
a.avi libmp3lame - 44100 1
a.bwf pcm_s24le wav 96000 1
a.caf alac - 44100 2
a.eac3 eac3 - 48000 1
a.flac flac - 16000 2
a.flv aac - 44100 1
a.flv nellymoser - 22050 1
a.g722 g722 - 16000 1
a.m4a aac - 44100 2
a.m4a alac - 16000 1
a.m4r aac ipod 44100 1
a.mka pcm_s16le - 16000 1
a.mkv aac - 44100 1
a.mkv aac - 48000 6
a.mov aac - 44100 1
a.mp3 libmp3lame - 44100 2
a.mp4 aac - 44100 1
a.mp4 libopus - 48000 1
a.mpg mp2 mpeg 48000 2
a.MTS ac3 mpegts 48000 2
a.oga flac - 16000 1
a.ogg libvorbis - 44100 2
a.opus libopus - 48000 1
a.qta aac mov 44100 1
a.rm real_144 - 8000 1
a.sln pcm_s16le s16le 8000 1
a.spx libspeex - 16000 1
a.spx libspeex - 8000 1
a.ts mp2 mpegts 48000 1
a.tta tta - 16000 1
a.ul pcm_mulaw mulaw 8000 1
a.vob ac3 - 48000 2
a.voc pcm_s16le - 16000 1
a.voc pcm_s16le - 44100 2
a.w64 pcm_s16le - 16000 1
a.wav pcm_s16le - 16000 1
a.wav pcm_u8 - 11025 1
a.wav adpcm_ms - 44100 1
a.webm libopus - 48000 2
a.wv wavpack - 44100 2
""".strip().splitlines()
KIND_OF = {line.split()[0][2:]: line.rpartition(" ")[0] for line in reversed(KINDS)}  # the first of each ending


def of_each(endings: str):
    return pytest.mark.parametrize("kind", [KIND_OF[ending] for ending in endings.split()])


def stereo(left, right) -> np.ndarray:
    return np.stack([left, right], axis=1).astype(np.float32)


@pytest.mark.parametrize("encoding", KINDS)
def test_the_voice_is_found_in_a_folder_and_read_whole(tmp_path, encoding):
    kind, n_channels = encoding.rsplit(" ", 1)
    name, codec, _, rate = kind.split()
    samples = np.repeat(VOICE[:, None], int(n_channels), axis=1)
    path = make(tmp_path, kind, samples, picture=name.endswith(FILMS))
    assert find_recordings([tmp_path]) == ([str(path)], 0)
    waveform, info = read(path)
    assert abs(len(waveform) - len(VOICE)) <= 0.05 * RATE
    is_lossless = codec.startswith(LOSSLESS) and int(rate) >= RATE
    least = LEAST.get(name, 0.98 if is_lossless else 0.9)
    assert likeness(waveform, VOICE) > least
    assert (info.n_channels, info.is_damaged, info.n_ignored) == (int(n_channels), False, 0)
    channels, _ = read(path, channels="each")
    assert channels.shape == (int(n_channels), len(waveform))
    assert all(likeness(channel, VOICE) > least for channel in channels[:2])  # the sixth is for deep tones


def test_gsm_without_a_header(tmp_path):
    soundfile.write(tmp_path / "a.gsm", VOICE[::2], 8_000, format="RAW", subtype="GSM610")
    assert find_recordings([tmp_path]) == ([str(tmp_path / "a.gsm")], 0)
    assert likeness(read(tmp_path / "a.gsm")[0], VOICE) > 0.9


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
    with pytest.raises(AudioError, match=rf"^cannot read: FFmpeg: it has 3 audio tracks, and no track {2**33}$"):
        load_audio(path, RATE, track=2**33)


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
def test_two_voices_differ_and_one_voice_in_two_noisy_channels_is_heard(tmp_path, codec, name):
    left, right, differ = CHANNELS[name]
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(len(VOICE), 2))
    encode(tmp_path / "a.mka", stereo(left, right) + noise, codec, "matroska", 48_000, bit_rate=64_000)
    waveform, info = read(tmp_path / "a.mka")
    assert info.channels_differ == differ and info.n_channels == 2
    assert differ or max(likeness(waveform, VOICE), likeness(-waveform, VOICE)) > 0.98


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
    least = LEAST.get(path.name, 0.9)
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
    no_header = {"write_xing": "0", "id3v2_version": "0"}
    encode(tmp_path / "a.mp3", sound, "libmp3lame", options=no_header, flags=Flags.qscale)
    waveform, info = read(tmp_path / "a.mp3")
    assert abs(len(waveform) / RATE - 40) < 0.2 and not info.is_damaged
    assert likeness(waveform[30 * RATE :], noise) > 0.8
    with soundfile.SoundFile(tmp_path / "a.mp3") as guess:
        assert guess.frames != len(waveform)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_part_of_a_stream_has_its_own_rate_and_channels(tmp_path, order):
    """Where their number changes, each channel gets the mix."""
    encode(tmp_path / "0.aac", stereo(VOICE, SILENCE), "aac", "adts", 48_000)
    encode(tmp_path / "1.aac", OTHER, "aac", "adts", 44_100)
    (tmp_path / "a.aac").write_bytes(b"".join((tmp_path / f"{part}.aac").read_bytes() for part in order))
    info = RecordingInfo()
    assert {rate for _, rate in read_pieces(tmp_path / "a.aac", info=info)} == {48_000, 44_100}
    assert info == RecordingInfo(n_channels=2)
    mix, (left, *right) = (read(tmp_path / "a.aac", channels=channels)[0] for channels in ("mix", "each"))
    for waveform in (mix, left):
        assert abs(len(waveform) / RATE - 8) < 0.1
        for part, sound in zip(order, np.split(waveform, [len(VOICE)]), strict=True):
            assert likeness(sound, (VOICE, OTHER)[part], 0.15) > 0.98
    assert len(right) == (order == (0, 1))
    for waveform in right:
        assert np.abs(waveform[: 3 * RATE]).max() < 0.01
        assert likeness(waveform[-3 * RATE :], OTHER[-3 * RATE :], 0.15) > 0.98


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
