import pytest

from speech_emotion.corpora.labels import LabelsError, check_trainable, read_labels


@pytest.fixture
def table(tmp_path):
    for name in ("a.wav", "b.wav", "dir/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    def write(text: str | bytes, name: str = "mine.csv"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return write


def test_paths_are_found_from_the_table_and_labels_are_any_words(table, tmp_path):
    rows = [
        "speaker,path, emotion,note",
        "1,a.wav, нейтральный,x",
        f"2,{tmp_path}/b.wav,NA,y",
        "2,dir/../dir/c.wav,怒り,",
    ]
    clips = read_labels(table("\ufeff" + "\n".join(rows)))
    assert list(clips) == ["clip", "path", "emotion", "speaker"]
    assert clips["emotion"].tolist() == ["нейтральный", "NA", "怒り"]
    assert clips["path"].tolist() == [str(tmp_path / name) for name in ("a.wav", "b.wav", "dir/c.wav")]
    assert clips["clip"].tolist() == ["a.wav", f"{tmp_path}/b.wav", "dir/../dir/c.wav"]


def test_without_speakers_there_is_no_such_column_and_forms_of_one_word_are_one(table):
    clips = read_labels(table("path,emotion\na.wav,e\u0301mu\nb.wav,\u00e9mu\na.wav,\u00e9mu\n"))
    assert list(clips) == ["clip", "path", "emotion"] and clips["emotion"].tolist() == ["\u00e9mu"] * 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "mine.csv is empty"),
        ("path,emotion\n", "mine.csv has no recording below its first line"),
        ("file,emotion\na.wav,sad\n", "mine.csv has the columns file, emotion: it needs path and emotion"),
        ("path;emotion\na.wav;sad\n", "mine.csv has the columns path;emotion: it needs path and emotion"),
        ("path,emotion\na.wav,sad\nx.wav,sad\ny.wav,sad\n", "2 of 3 recordings in .* do not exist: x.wav, y.wav$"),
        ("path,emotion\na.wav,sad\n./a.wav,glad\n", "gives a.wav several emotions: sad and glad"),
        ("path,emotion,speaker\na.wav,sad,1\na.wav,sad,2\n", "gives a.wav several speakers: 1 and 2"),
        ("path,emotion\na.wav,sad\nb.wav,\n", "line 3 of .*mine.csv has no emotion"),
        ("path,emotion,speaker\na.wav,sad, \n", "line 2 of .*mine.csv has no speaker"),
        ("path,emotion\na,b.wav,sad\n", "line 2 of .*mine.csv has not as many values as there are columns"),
        ('path,emotion\n"a.wav,sad\n', "mine.csv is not a CSV table in UTF-8"),
        (b"RIFF\xff\xfe\x00\x00WAVE", "mine.csv is not a CSV table in UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_sentence(table, text, sentence):
    with pytest.raises(LabelsError, match=sentence) as error:
        read_labels(table(text))
    assert "\n" not in str(error.value)


def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(LabelsError, match=f"cannot read {path}: .+"):
            read_labels(path)


def test_recordings_need_not_be_here_when_only_their_labels_are_asked(table):
    assert len(read_labels(table("path,emotion\ngone.wav,sad\n"), must_exist=False)) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.wav,sad\nb.wav,sad\n", "every recording is labelled sad: training needs two emotions"),
        ("a.wav,sad\nb.wav,sad\ndir/c.wav,bored\n", "two recordings or more of each emotion, there is one of bored"),
    ],
)
def test_too_little_to_train_on_is_one_sentence(table, text, sentence):
    with pytest.raises(LabelsError, match=sentence):
        check_trainable(read_labels(table("path,emotion\n" + text)))
