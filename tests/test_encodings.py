"""The same voice in every container and codec that FFmpeg's libraries can write here."""

import numpy as np
import pytest
from recordings import RATE, encode, likeness, voice

from speech_emotion.audio.listing import find_recordings
from speech_emotion.audio.reading import RecordingInfo
from speech_emotion.audio.resampling import load_audio

VOICE = voice()
LOSSLESS = "alac", "flac", "pcm", "tta", "wavpack"
FILMS = ".avi", ".mkv", ".mov", ".mp4", ".mpg", ".vob"
SETTINGS = {"libspeex": {"bit_rate": 42_000}, "wmav1": {"bit_rate": 64_000}, "wmav2": {"bit_rate": 64_000}}

# name, FFmpeg's name of the container where the ending does not say it, codec, rate in Hz, channels
ENCODINGS = """
a.mp3 - libmp3lame 8000 1
a.mp3 - libmp3lame 16000 1
a.mp3 - libmp3lame 44100 2
a.mp3 - libmp3lame 48000 2
a.mp2 - mp2 32000 1
a.mpga mp2 mp2 48000 2
a.m4a - aac 16000 1
a.m4a - aac 44100 2
a.m4r ipod aac 44100 1
a.m4a - alac 16000 1
a.m4a - alac 44100 2
a.aac adts aac 48000 1
a.aac adts aac 44100 2
a.opus - libopus 48000 1
a.opus - libopus 48000 2
a.ogg - libvorbis 16000 2
a.ogg - libvorbis 44100 1
a.ogg - libopus 48000 1
a.oga - flac 16000 1
a.spx - libspeex 8000 1
a.spx - libspeex 16000 1
a.webm - libopus 48000 2
a.webm - libvorbis 48000 1
a.mka - flac 44100 2
a.mka - pcm_s16le 16000 1
a.mka matroska wavpack 16000 1
a.mka matroska tta 16000 1
a.mkv - aac 48000 6
a.mkv - ac3 48000 6
a.mkv - eac3 48000 2
a.mkv - libmp3lame 44100 2
a.mp4 - aac 48000 2
a.mp4 - libopus 48000 1
a.mp4 - ac3 48000 2
a.m4v mp4 aac 48000 1
a.mov - aac 44100 1
a.mov - pcm_s16le 48000 2
a.3g2 - aac 16000 1
a.wma asf wmav1 44100 1
a.asf - wmav2 44100 2
a.flv - aac 44100 1
a.flv - libmp3lame 44100 2
a.flv - nellymoser 22050 1
a.avi - libmp3lame 44100 1
a.avi - pcm_s16le 16000 2
a.ts mpegts aac 48000 2
a.MTS mpegts ac3 48000 2
a.mpg mpeg mp2 48000 2
a.vob - ac3 48000 2
a.rm - real_144 8000 1
a.ac3 - ac3 48000 2
a.eac3 - eac3 48000 1
a.nut - flac 16000 1
a.caf - pcm_s16be 16000 1
a.caf - alac 44100 2
a.w64 - pcm_s16le 16000 1
a.au - pcm_mulaw 8000 1
a.au - pcm_s16be 48000 2
a.aiff - pcm_s16be 44100 2
a.aif aiff pcm_s24be 16000 1
a.voc - pcm_s16le 44100 2
a.voc - pcm_s16le 48000 1
a.wv - wavpack 44100 2
a.tta - tta 16000 1
a.flac - flac 16000 1
a.flac - flac 48000 2
a.wav - pcm_alaw 8000 1
a.wav - pcm_u8 11025 1
a.wav - adpcm_g722 16000 1
a.wav - adpcm_ms 44100 1
a.wav - libmp3lame 44100 1
a.wav - pcm_f32le 48000 2
a.bwf wav pcm_s24le 96000 1
a.qta mov aac 44100 1
a.al alaw pcm_alaw 8000 1
a.ul mulaw pcm_mulaw 8000 1
a.g722 - g722 16000 1
a.sln s16le pcm_s16le 8000 1
a.sln16 s16le pcm_s16le 16000 1
"""


@pytest.mark.parametrize("encoding", ENCODINGS.strip().splitlines())
def test_the_voice_is_found_in_a_folder_and_read_whole(tmp_path, encoding):
    name, container, codec, rate, channels = encoding.split()
    samples = np.repeat(VOICE[:, None], int(channels), axis=1)
    picture = name.endswith(FILMS)
    container = None if container == "-" else container
    encode(tmp_path / name, samples, codec, container, int(rate), picture, **SETTINGS.get(codec, {}))
    assert find_recordings([tmp_path]) == ([str(tmp_path / name)], 0)
    info = RecordingInfo()
    waveform = load_audio(tmp_path / name, RATE, info=info).numpy()
    assert abs(len(waveform) - len(VOICE)) <= 0.05 * RATE
    assert likeness(waveform, VOICE) > (0.98 if codec.startswith(LOSSLESS) and int(rate) >= RATE else 0.9)
    assert info == RecordingInfo(n_channels=int(channels))
    each = load_audio(tmp_path / name, RATE, channels="each").numpy()
    assert each.shape == (int(channels), len(waveform))
    assert all(likeness(channel, VOICE) > 0.9 for channel in each[:2])  # the sixth is for deep tones
