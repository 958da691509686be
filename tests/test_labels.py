import pytest

from speech_emotion.corpora.labels import AnnotationError, check_trainable, read_labels, spelling
from speech_emotion.corpora.ravdess import EMOTIONS
from speech_emotion.inference.table import Table


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


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("path,emotion\na.wav,e\u0301mu\nb.wav,\u00e9mu\na.wav,\u00e9mu\n", ["\u00e9mu", "\u00e9mu"]),
        ("path,emotion\na.wav,Bored\nb.wav,bored\na.wav,BORED\n", ["Bored", "Bored"]),
    ],
)
def test_forms_of_a_label_that_differ_in_case_or_in_unicode_are_equal(table, text, labels):
    clips = read_labels(table(text))
    assert list(clips) == ["clip", "path", "emotion"] and clips["emotion"].tolist() == labels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "mine.csv is empty"),
        ("path,emotion\n", "mine.csv has no recordings below its first line"),
        ("path,emotion\na.wav,\n", "mine.csv has no emotions below its first line"),
        ("name,emotion\na.wav,sad\n", "mine.csv has the columns name, emotion: path and emotion are required"),
        ("path,emotion\na.wav,sad\nx.wav,sad\ny.wav,sad\n",
         "2 of 3 recordings in .* do not exist beside it or in the current folder: x.wav, y.wav$"),
        ("path,emotion\n" + "".join(f"{number}.wav,sad\n" for number in range(1000)),
         "1000 of 1000 .* do not exist .*: 0.wav, 1.wav, .*9.wav and 990 more$"),
        ("path,emotion\na.wav,sad\n./a.wav,glad\n", "gives a.wav several emotions: sad and glad"),
        ("path,emotion,speaker\na.wav,sad,1\na.wav,sad,2\n", "gives a.wav several speakers: 1 and 2"),
        ("sep=,\npath,emotion\na.wav,sad\n,sad\n", "line 4 of .*mine.csv has no path"),
        ("path,emotion,speaker\na.wav,sad, \n", "line 2 of .*mine.csv has no speaker"),
        ("path,emotion\na,b.wav,sad\n", "line 2 of .*mine.csv does not have one value per column; .* needs quotes"),
        ('path,emotion\n"a.wav,sad\n', "mine.csv is not a CSV table: unexpected end of data"),
        ("path,emotion\na.wav,gl\u00fccklich\n".encode("latin-1"), "save it as UTF-8, in Excel as CSV UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_sentence(table, text, sentence):
    with pytest.raises(AnnotationError, match=sentence) as error:
        read_labels(table(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.csv", "cannot read .*none.csv: .+"),
        (".", "cannot read .+: .+"),
        ("/dev/zero", "/dev/zero has more than 64"),
    ],
)
def test_what_is_no_file_is_one_sentence(tmp_path, name, sentence):
    with pytest.raises(AnnotationError, match=sentence):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "Path;Emotion;Speaker\na.wav;sad;1\ndir/c.wav;glad, more or less;2\n",
        "file\tlabel\tspeaker_id\r\na.wav\tsad\t1\r\ndir/c.wav\tglad, more or less\t2\r\n",
        'note;x,label, FileName ,speaker\n1,sad,a.wav,1\n2,"glad, more or less",dir/c.wav,2\n',
        "path;emotion;speaker\na.wav;sad;1\ndir\\c.wav;glad, more or less;2\n",
        'url,labels,speaker\na.wav,sad,1\n,,\n"dir/c.wav","glad, more or less",2\n\n,,\n',
        "sep=;\r\nAudio;EMOTION;speaker\r\na.wav;sad;1\r\ndir/c.wav;glad, more or less;2\r\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_are_read_as_spreadsheets_write_them(table, tmp_path, text, encoding):
    clips = read_labels(table(text.encode(encoding)))
    assert clips["path"].tolist() == [str(tmp_path / "a.wav"), str(tmp_path / "dir" / "c.wav")]
    assert clips["emotion"].tolist() == ["sad", "glad, more or less"] and clips["speaker"].tolist() == ["1", "2"]
    assert clips.attrs["n_without_emotion"] == 0


def test_a_corrected_table_of_eval_is_a_table_of_labels(table, tmp_path, monkeypatch):
    """Its paths are relative to the folder where eval.py ran; recordings without an emotion are counted."""
    table("", "=b.wav")
    monkeypatch.chdir(tmp_path)
    row = {"url": "a.wav", "emotion": "sad", "confidence": 0.5, "sad": 0.5, "glad": 0.5, "error": ""}
    (tmp_path / "results").mkdir()
    with Table("results/out.csv", list(row)) as out:
        out.write([row])
        out.write([row | {"url": "=b.wav"}])
        out.write([dict.fromkeys(row, "") | {"url": "gone.wav", "confidence": None, "sad": None, "glad": None}])
        out.finish()
    text = (tmp_path / "results" / "out.csv").read_text(encoding="utf-8")
    clips = read_labels(table(text.replace("a.wav,sad", "a.wav,glad", 1), "results/out.csv"))
    assert [str(tmp_path / path) for path in clips["path"]] == [str(tmp_path / name) for name in ("a.wav", "=b.wav")]
    assert clips["emotion"].tolist() == ["glad", "sad"] and clips.attrs["n_without_emotion"] == 1


def test_a_backslash_in_a_name_stays_where_there_is_such_a_file(table, tmp_path):
    (tmp_path / "dir\\c.wav").write_bytes(b"")
    (clip,) = read_labels(table("path,emotion\ndir\\c.wav,sad\n"))["path"]
    assert clip == str(tmp_path / "dir\\c.wav")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("ANGRY", "angry"), ("surprise", "surprised"), ("Happiness", "happy"), ("fear", "fearful"), ("sadness", "sad"),
     ("anger", "angry"), ("disgusted", "disgust"), ("bored", "bored"), ("happy", "happy")],
)  # fmt: skip
def test_the_usual_forms_of_an_emotion_are_known(written, meant):
    assert spelling(EMOTIONS)(written) == meant
    assert spelling([written, *EMOTIONS])(written.upper()) == written  # who tells two forms apart means it


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.wav,sad\nb.wav,sad\n", "every recording is labelled sad: training needs at least two emotions"),
        ("a.wav,sad\nb.wav,sad\ndir/c.wav,bored\n", "two recordings of each emotion; there is only one of bored"),
    ],
)
def test_too_little_to_train_on_is_one_sentence(table, text, sentence):
    with pytest.raises(AnnotationError, match=sentence):
        check_trainable(read_labels(table("path,emotion\n" + text)))
