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


def test_nemo_speaks_our_words_at_any_depth(tmp_path):
    write(tmp_path, "nemo/samples/WR0_surprised_64.wav", "nemo/samples/EB0_anger_1.wav", "deep/er/KD0_sadness_9.flac")
    table = NEMO.clip_table(tmp_path).set_index("clip")
    assert table["emotion"].to_dict() == {
        "EB0_anger_1": "angry",
        "KD0_sadness_9": "sad",
        "WR0_surprised_64": "surprised",
    }
    assert table.loc["WR0_surprised_64", ["speaker", "sex", "sentence"]].tolist() == ["WR0", "male", "64"]
    assert table.loc["EB0_anger_1", "path"] == str(tmp_path / "nemo/samples/EB0_anger_1.wav")


def test_emodb_leaves_boredom_out_unless_asked(tmp_path):
    stems = ["03a01Fa", "08b10Wb", "09a02Ea", "10a04Ad", "11a05Td", "12a07Na", "16b03Lx"]
    write(tmp_path, *[f"emodb/wav/{stem}.wav" for stem in stems])
    table = EMODB.clip_table(tmp_path).set_index("clip")
    assert table["emotion"].tolist() == ["happy", "angry", "disgust", "fearful", "sad", "neutral"]
    assert table.loc["08b10Wb", ["speaker", "sex", "sentence"]].tolist() == ["08", "female", "b10"]
    assert EMODB_WITH_BOREDOM.clip_table(tmp_path)["emotion"].tolist()[-1] == "bored"


def test_urdu_is_in_a_folder_for_each_emotion(tmp_path):
    write(tmp_path, "urdu/Angry/SM1_F10_A010.wav", "urdu/Sad/SF11_F3_S97.wav")
    table = URDU.clip_table(tmp_path).set_index("clip")
    assert table.loc["SM1_F10_A010", ["emotion", "speaker", "sex"]].tolist() == ["angry", "SM1", "male"]
    assert table.loc["SF11_F3_S97", ["emotion", "speaker", "sex"]].tolist() == ["sad", "SF11", "female"]


@pytest.mark.parametrize(
    "name",
    [
        "notes.wav",
        "XX0_anger_1.wav",
        "WR0_joy_1.wav",
        "WR0_anger_1.txt",
        "04a01Fa.wav",
        "03a01Xa.wav",
        "SM1_F10_X010.wav",
    ],
)
@pytest.mark.parametrize("corpus", [NEMO, EMODB, URDU])
def test_other_files_are_no_clips_and_the_remedy_is_named(corpus, name, tmp_path):
    write(tmp_path, name)
    with pytest.raises(NoDataError, match=r"No (nEMO|EmoDB|URDU) clips under .*\n?.* download (nemo|emodb|urdu)`"):
        corpus.clip_table(tmp_path)


def test_corpora_side_by_side_are_told_apart_and_share_their_columns(tmp_path):
    write(tmp_path, "nemo/IC0_fear_1.wav", "emodb/13a01Ac.wav", "urdu/SF2_F1_H001.wav")
    write(tmp_path, *[f"speech_actors/Actor_0{actor}/03-01-06-01-02-01-0{actor}.flac" for actor in (1, 2)])
    tables = [corpus.clip_table(tmp_path) for corpus in (NEMO, EMODB, URDU, ravdess)]
    assert [len(table) for table in tables] == [1, 1, 1, 2]
    for table in tables:
        assert {"clip", "path", "emotion", "speaker", "sex"} <= set(table)
        assert set(table["emotion"]) <= set(ravdess.EMOTIONS)
    assert set(tables[3]["speaker"]) == {1, 2} == set(tables[3]["actor"])
