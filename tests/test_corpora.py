"""Which files are clips of a corpus, and what their names say."""

import shutil

import pytest

from speech_emotion.corpora import ravdess
from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.foreign import EMODB, EMODB_WITH_BOREDOM, NEMO, URDU


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("corpus", "name", "said"),
    [
        (NEMO, "nemo/samples/WR0_surprised_64.wav", ["surprised", "WR0", "male", "64"]),
        (NEMO, "deep/er/KD0_sadness_9.flac", ["sad", "KD0", "female", "9"]),
        (EMODB, "emodb/wav/08b10Wb.wav", ["angry", "08", "female", "b10"]),
        (EMODB, "emodb/wav/16b03Ea.wav", ["disgust", "16", "female", "b03"]),
        (EMODB_WITH_BOREDOM, "emodb/wav/16b03Lx.wav", ["bored", "16", "female", "b03"]),
        (URDU, "urdu/Angry/SM1_F10_A010.wav", ["angry", "SM1", "male"]),
        (URDU, "urdu/Sad/SF11_F3_S97.wav", ["sad", "SF11", "female"]),
    ],
)
def test_a_name_says_emotion_speaker_and_sex(tmp_path, corpus, name, said):
    write(tmp_path, name)
    (clip,) = corpus.clip_table(tmp_path).to_dict("records")
    assert [clip[column] for column in ("emotion", "speaker", "sex", "sentence")[: len(said)]] == said
    assert clip["path"] == str(tmp_path / name)


@pytest.mark.parametrize(
    ("corpus", "name", "remedy"),
    [
        (NEMO, "nEMO", "download nemo`"),
        (EMODB, "EmoDB", "download emodb`"),
        (URDU, "URDU", "download urdu`"),
        (ravdess, "RAVDESS", "https://zenodo.org/records/1188976"),
    ],
)
def test_other_files_are_no_clips_and_one_line_says_where_to_get_them(corpus, name, remedy, tmp_path):
    names = "notes.wav XX0_anger_1.wav WR0_joy_1.wav WR0_anger_1.txt 04a01Fa.wav 03a01Xa.wav 16b03Lx.wav"
    write(tmp_path, *names.split(), "SM1_F10_X010.wav")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoDataError, match=f"^No {name} clips under .*{remedy}.*$"):
            corpus.clip_table(folder)


def test_corpora_side_by_side_are_told_apart_and_share_their_columns(tmp_path):
    write(tmp_path, "nemo/IC0_fear_1.wav", "emodb/13a01Ac.wav", "urdu/SF2_F1_H001.wav")
    write(tmp_path, *[f"speech_actors/Actor_0{actor}/03-01-06-01-02-01-0{actor}.flac" for actor in (1, 2)])
    tables = [corpus.clip_table(tmp_path) for corpus in (NEMO, EMODB, URDU, ravdess)]
    assert [len(table) for table in tables] == [1, 1, 1, 2]
    for table in tables:
        assert {"clip", "path", "emotion", "speaker", "sex"} <= set(table)
        assert set(table["emotion"]) <= set(ravdess.EMOTIONS)
    assert set(tables[3]["speaker"]) == {1, 2} == set(tables[3]["actor"])


def test_a_name_of_ravdess_is_read_in_words_and_another_is_no_clip():
    assert ravdess.describe("03-01-06-01-02-01-12") == {
        "modality": "audio-only", "channel": "speech", "emotion": "fearful", "intensity": "normal",
        "statement": "Dogs are sitting by the door", "repetition": 1, "actor": 12, "sex": "female", "speaker": 12,
    }  # fmt: skip
    wrong = "hello 03-01-06-01-02-01 03-01-09-01-02-01-12 03-01-06-01-02-01-25 3-1-6-1-2-1-12 03-01-06-01-02-01-12-01"
    assert [ravdess.describe(name) for name in ["", *wrong.split()]] == [None] * 7


def test_the_table_is_sorted_finds_every_depth_and_suffix_and_counts_a_doubled_folder_once(tone_data, tmp_path):
    table = ravdess.clip_table(tone_data)
    assert len(table) == 2 * (60 + 44)
    assert table["clip"].is_monotonic_increasing and table["clip"].is_unique
    assert set(table["emotion"][table["channel"] == "song"]) == {"neutral", "calm", "happy", "sad", "angry", "fearful"}
    (tmp_path / "speech_actors").symlink_to(tone_data / "speech_actors")
    shutil.copytree(tone_data / "speech_actors" / "Actor_01", tmp_path / "audio_speech_actors_01-24" / "Actor_01")
    (tmp_path / "notes.txt").write_text("not audio")
    assert len(ravdess.clip_table(tmp_path)) == 120


def test_what_is_missing_and_what_is_unexpected_is_named(tone_data):
    table = ravdess.clip_table(tone_data)
    table.loc[0, "clip"] = "02-01-01-01-01-01-01"
    speech, song, unexpected = ravdess.check_table(table)
    assert speech.startswith("1321 of 1440 speech clips are missing: 03-01-01-01-01-01-01")
    assert song.startswith("924 of 1012 song clips are missing")
    assert unexpected == "1 clips are not part of the audio-only release: 02-01-01-01-01-01-01"
