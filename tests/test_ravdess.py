import shutil

import pytest

from speech_emotion.corpora.clips import NoDataError
from speech_emotion.corpora.ravdess import check_table, clip_table, copies_of, describe, expected_clips


def test_a_name_is_read_in_words():
    assert describe("03-01-06-01-02-01-12") == {
        "modality": "audio-only", "channel": "speech", "emotion": "fearful", "intensity": "normal",
        "statement": "Dogs are sitting by the door", "repetition": 1, "actor": 12, "sex": "female", "speaker": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["", "hello", "03-01-06-01-02-01", "03-01-09-01-02-01-12", "03-01-06-01-02-01-25", "03-01-00-01-02-01-12",
     "3-1-6-1-2-1-12", "03-01-06-01-02-01-12-01"],
)  # fmt: skip
def test_another_name_is_no_clip(name):
    assert describe(name) is None


def test_the_release_has_1440_spoken_and_1012_sung_clips():
    clips = expected_clips()
    assert sum(clip.startswith("03-01") for clip in clips) == 1440
    assert sum(clip.startswith("03-02") for clip in clips) == 1012
    assert not any(clip.startswith("03-02") and clip.endswith("18") for clip in clips)


def test_the_table_is_sorted_and_finds_every_depth_and_suffix(tone_data):
    table = clip_table(tone_data)
    assert len(table) == 2 * (60 + 44)
    assert table["clip"].is_monotonic_increasing and table["clip"].is_unique
    assert set(table["emotion"][table["channel"] == "song"]) == {"neutral", "calm", "happy", "sad", "angry", "fearful"}


def test_a_linked_and_a_doubled_folder_count_once(tone_data, tmp_path):
    (tmp_path / "speech_actors").symlink_to(tone_data / "speech_actors")
    shutil.copytree(tone_data / "speech_actors" / "Actor_01", tmp_path / "audio_speech_actors_01-24" / "Actor_01")
    (tmp_path / "notes.txt").write_text("not audio")
    assert len(clip_table(tmp_path)) == 120


def test_what_is_missing_and_what_is_unexpected_is_named(tone_data):
    table = clip_table(tone_data)
    table.loc[0, "clip"] = "02-01-01-01-01-01-01"
    speech, song, unexpected = check_table(table)
    assert speech.startswith("1321 of 1440 speech clips are missing: 03-01-01-01-01-01-01")
    assert song.startswith("924 of 1012 song clips are missing")
    assert unexpected == "1 clips are not part of the audio-only release: 02-01-01-01-01-01-01"


def test_without_data_one_line_says_where_to_get_it(tmp_path):
    with pytest.raises(NoDataError, match="https://zenodo.org/records/1188976") as error:
        clip_table(tmp_path / "data")
    assert "\n" not in str(error.value)


def test_the_two_identical_clips_are_known():
    assert copies_of(["03-01-03-01-02-01-07"]) == {"03-01-03-01-02-02-07"}
    assert copies_of(["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]) == set()
    assert copies_of(["03-01-01-01-01-01-01"]) == set()
