"""The choice of a track, and the mixing of its channels."""

import numpy as np
import pytest
from recordings import RATE, encode, likeness, voice

from speech_emotion.audio.reading import AudioError, RecordingInfo, read_pieces
from speech_emotion.audio.resampling import load_audio

VOICE, OTHER = voice(), voice(seed=1)
SILENCE = np.zeros_like(VOICE)
TURN = (np.arange(len(VOICE)) // RATE % 2).astype(np.float32)  # each speaks for a second


def stereo(left, right) -> np.ndarray:
    return np.stack([left, right], axis=1).astype(np.float32)


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov", "ts"])
def test_the_default_track_is_read_and_any_other_if_asked(tmp_path, container):
    path = tmp_path / f"a.{container}"
    encode(path, [SILENCE, VOICE, OTHER], "aac", rate=48_000, picture=True, default=1)
    if container != "ts":  # which has no such flag
        info = RecordingInfo()
        assert likeness(load_audio(path, RATE, info=info).numpy(), VOICE) > 0.98
        assert info.n_tracks == 3
    for track, expected in ((2, VOICE), (3, OTHER)):
        assert likeness(load_audio(path, RATE, track=track).numpy(), expected) > 0.98
    assert load_audio(path, RATE, track=1).abs().max() < 1e-3
    with pytest.raises(AudioError, match=r"^cannot read: FFmpeg: it has 3 audio tracks, and no track 4$"):
        load_audio(path, RATE, track=4)


@pytest.mark.parametrize("encoding", ["a.wav pcm_s16le", "a.m4a aac", "a.mp3 libmp3lame", "a.flac flac"])
def test_a_voice_with_opposite_signs_is_heard(tmp_path, encoding):
    name, codec = encoding.split()
    encode(tmp_path / name, stereo(VOICE, -VOICE), codec, rate=48_000)
    info = RecordingInfo()
    waveform = load_audio(tmp_path / name, RATE, info=info).numpy()
    assert abs(likeness(waveform, VOICE)) > 0.98 or likeness(-waveform, VOICE) > 0.98
    assert info.n_channels == 2 and not info.channels_differ


def test_each_channel_is_read_separately(tmp_path):
    encode(tmp_path / "call.m4a", stereo(TURN * VOICE, (1 - TURN) * OTHER), "aac", rate=44_100, bit_rate=128_000)
    info = RecordingInfo()
    left, right = load_audio(tmp_path / "call.m4a", RATE, channels="each", info=info).numpy()
    assert likeness(left, TURN * VOICE) > 0.98 < likeness(right, (1 - TURN) * OTHER)
    assert info == RecordingInfo(n_channels=2, channels_differ=True, channels_unrelated=True)


@pytest.mark.parametrize("crosstalk", [0, 0.1])
@pytest.mark.parametrize("codec", ["flac", "libmp3lame"])
def test_two_ends_of_a_call_differ(tmp_path, codec, crosstalk):
    left, right = TURN * VOICE, (1 - TURN) * OTHER
    call = stereo(left + crosstalk * right, right + crosstalk * left)
    encode(tmp_path / "a.mka", call, codec, "matroska", 48_000, bit_rate=128_000)
    info = RecordingInfo()
    list(read_pieces(tmp_path / "a.mka", info=info))
    assert info.channels_differ


@pytest.mark.parametrize("codec", ["flac", "libmp3lame", "ac3"])
@pytest.mark.parametrize("scale", [1, 0.05, 0, -1])
def test_one_voice_in_two_channels_does_not_differ(tmp_path, codec, scale):
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(len(VOICE), 2))
    encode(tmp_path / "a.mka", stereo(VOICE, scale * VOICE) + noise, codec, "matroska", 48_000, bit_rate=64_000)
    info = RecordingInfo()
    list(read_pieces(tmp_path / "a.mka", info=info))
    assert not info.channels_differ


def test_if_the_number_of_channels_changes_each_gets_the_mix(tmp_path):
    for name, sound in (("a.mp3", stereo(VOICE, SILENCE)), ("b.mp3", OTHER)):
        encode(tmp_path / name, sound, "libmp3lame", rate=44_100, options={"write_xing": "0"})
    (tmp_path / "ab.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes())
    info = RecordingInfo()
    left, right = load_audio(tmp_path / "ab.mp3", RATE, channels="each", info=info).numpy()
    assert likeness(left[: len(VOICE)], VOICE) > 0.9 and np.abs(right[: 3 * RATE]).max() < 0.01
    assert likeness(left[-len(OTHER) :], OTHER) > 0.9 < likeness(right[-len(OTHER) :], OTHER)
    assert info.n_channels == 2
