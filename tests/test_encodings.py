"""The same voice in every container and codec that FFmpeg's libraries can write here."""

import numpy as np
import pytest
import soundfile
from recordings import RATE, likeness, make, read, voice

from speech_emotion.audio.files import find_recordings

VOICE = voice()
LOSSLESS = "alac", "flac", "pcm", "tta", "wavpack"
FILMS = ".avi", ".mkv", ".mov", ".mp4", ".mpg", ".vob"

# name, codec, FFmpeg's name of the container where the ending does not say it, rate in Hz, channels
ENCODINGS = """
a.mp3 libmp3lame - 44100 2
a.m4a aac - 44100 2
a.m4r aac ipod 44100 1
a.qta aac mov 44100 1
a.m4a alac - 16000 1
a.aac aac adts 44100 2
a.opus libopus - 48000 1
a.ogg libvorbis - 16000 2
a.oga flac - 16000 1
a.spx libspeex - 8000 1
a.webm libopus - 48000 2
a.mka pcm_s16le - 16000 1
a.mkv aac - 48000 6
a.mp4 libopus - 48000 1
a.mov aac - 44100 1
a.3g2 aac - 16000 1
a.asf wmav2 - 44100 2
a.flv nellymoser - 22050 1
a.avi libmp3lame - 44100 1
a.MTS ac3 mpegts 48000 2
a.mpg mp2 mpeg 48000 2
a.vob ac3 - 48000 2
a.rm real_144 - 8000 1
a.eac3 eac3 - 48000 1
a.caf alac - 44100 2
a.w64 pcm_s16le - 16000 1
a.au pcm_mulaw - 8000 1
a.aif pcm_s24be aiff 16000 1
a.voc pcm_s16le - 44100 2
a.wv wavpack - 44100 2
a.tta tta - 16000 1
a.flac flac - 48000 2
a.wav pcm_u8 - 11025 1
a.wav adpcm_ms - 44100 1
a.bwf pcm_s24le wav 96000 1
a.al pcm_alaw alaw 8000 1
a.ul pcm_mulaw mulaw 8000 1
a.g722 g722 - 16000 1
a.sln pcm_s16le s16le 8000 1
"""


@pytest.mark.parametrize("encoding", ENCODINGS.strip().splitlines())
def test_the_voice_is_found_in_a_folder_and_read_whole(tmp_path, encoding):
    kind, n_channels = encoding.rsplit(" ", 1)
    name, codec, _, rate = kind.split()
    samples = np.repeat(VOICE[:, None], int(n_channels), axis=1)
    path = make(tmp_path, kind, samples, picture=name.endswith(FILMS))
    assert find_recordings([tmp_path]) == ([str(path)], 0)
    waveform, info = read(path)
    assert abs(len(waveform) - len(VOICE)) <= 0.05 * RATE
    assert likeness(waveform, VOICE) > (0.98 if codec.startswith(LOSSLESS) and int(rate) >= RATE else 0.9)
    assert (info.n_channels, info.is_damaged, info.n_ignored) == (int(n_channels), False, 0)
    channels, _ = read(path, channels="each")
    assert channels.shape == (int(n_channels), len(waveform))
    assert all(likeness(channel, VOICE) > 0.9 for channel in channels[:2])  # the sixth is for deep tones


def test_gsm_without_a_header(tmp_path):
    soundfile.write(tmp_path / "a.gsm", VOICE[::2], 8_000, format="RAW", subtype="GSM610")
    assert find_recordings([tmp_path]) == ([str(tmp_path / "a.gsm")], 0)
    assert likeness(read(tmp_path / "a.gsm")[0], VOICE) > 0.9
