"""Segments from transcribers, diarisers and annotation programs: read, and classified as the tables say."""

import json

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, run_eval

from speech_emotion import Predictor
from speech_emotion.audio.resampling import load_audio
from speech_emotion.corpora.segments import AnnotationError, Segment, read_segments
from speech_emotion.inference.formats import read_table

SUBRIP = """1
00:00:01,000 --> 00:00:02,500
[SPEAKER_01]: Well, <i>hello</i>
there

2
00:01:00,250 --> 00:01:02,000
[music]
"""
WEBVTT = """WEBVTT

NOTE made by hand

00:01.000 --> 00:02.500 align:start
<v Ann Lee>Well, <b>hello</b> there

NOTE a comment

00:00:03.000 --> 00:00:04.000
Bye
"""
AUDACITY = "1.000000\t2.500000\tWell, hello there\n\\\t100.0\t200.0\n3.000000\t4.000000\t\n"
RTTM = """SPEAKER talk 1 1.00 1.50 <NA> <NA> ann <NA> <NA>
SPEAKER other 1 0.00 9.00 <NA> <NA> eve <NA> <NA>
SPEAKER talk 1 3.00 1.00 <NA> <NA> bob <NA> <NA>
"""
TABLE = "Speaker; Start; End; Text\nann;1.0;2.5;Well, hello there\n;3;4;\n"
TEXT_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
5
<exists>
2
"IntervalTier"
"words"
0
5
2
0
1
""
1
2.5
"Well, hello there"
"IntervalTier"
"phones"
0
5
1
0
5
"a"
"""
HELLO = Segment(1, 2.5, "Well, hello there")


def whisper(**speaker) -> str:
    rows = [{"id": 0, "start": 1.0, "end": 2.5, "text": " Well, hello there", "words": [], **speaker}]
    return json.dumps({"text": " Well, hello there", "segments": rows, "language": "en"})


@pytest.mark.parametrize(
    ("name", "content", "options", "segments"),
    [
        ("talk.srt", SUBRIP, {}, [Segment(1, 2.5, "Well, hello there", "SPEAKER_01"), Segment(60.25, 62, "[music]")]),
        ("talk.vtt", WEBVTT, {}, [Segment(1, 2.5, "Well, hello there", "Ann Lee"), Segment(3, 4, "Bye")]),
        ("talk.txt", AUDACITY, {}, [HELLO, Segment(3, 4)]),
        ("talks.rttm", RTTM, {"recording": "a/talk.wav"}, [Segment(1, 2.5, "", "ann"), Segment(3, 4, "", "bob")]),
        ("talk.csv", TABLE, {}, [Segment(1, 2.5, "Well, hello there", "ann"), Segment(3, 4)]),
        ("talk.csv", "start,end\n3,4\n1,2\n", {}, [Segment(1, 2), Segment(3, 4)]),
        ("talk.TextGrid", TEXT_GRID, {"tier": "words"}, [HELLO]),
        ("talk.json", whisper(), {}, [HELLO]),
        ("talk.json", whisper(speaker="SPEAKER_00"), {}, [Segment(1, 2.5, "Well, hello there", "SPEAKER_00")]),
    ],
)
def test_every_format_gives_times_text_and_speaker(tmp_path, name, content, options, segments):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / name).write_text(content, encoding)
        assert read_segments(tmp_path / name, **options) == segments


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("talk.pdf", "x", {}, r"talk\.pdf is not a format of segments; these are \.srt, .*\.json"),
        ("talk.srt", "", {}, r"talk\.srt (has no segments|is not a valid \.srt file of segments)"),
        ("talk.csv", "begin,end\n1,2\n", {}, "has the columns begin, end: start and end are required, text and spea"),
        ("talk.csv", "start,end,text\n1,2,Well, hello\n", {}, "line 2 of .*talk.csv does not have one value per col"),
        ("talk.csv", "start,end\n2,1\n", {}, "a segment from 2 to 1 s"),
        ("talk.csv", "start,end\nnan,1\n", {}, "a segment from nan to 1 s"),
        ("talk.csv", "start,end\none,2\n", {}, r"is not a valid \.csv file of segments: could not convert"),
        ("talk.json", "{", {}, r"is not a valid \.json file of segments"),
        ("talk.TextGrid", TEXT_GRID, {}, "has words, phones; choose one with --tier"),
        ("talk.TextGrid", TEXT_GRID, {"tier": "word"}, "has no tier word, but words, phones; choose one with --tier"),
        ("talks.rttm", RTTM, {"recording": "my.wav"}, "has no segments of my, but of other, talk"),
        ("talk.srt", b"\xe9\xe8", {}, "not in UTF-8"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence_with_its_name(tmp_path, name, content, options, sentence):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError, match=sentence) as error:
        read_segments(tmp_path / name, **options)
    assert name in str(error.value) and "\n" not in str(error.value)


RATE = 16_000
FILES = ("bright_french.mp3", "flat_spanish.mp3", "slow_low_male.wav")
PAUSE_S = 1.0


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Three voices with pauses between them, and where each of them is."""
    parts, times = [np.zeros(int(PAUSE_S * RATE), np.float32)], []
    for name in FILES:
        samples = load_audio(REPOSITORY / "eval_data" / name, RATE).numpy()
        start = sum(map(len, parts)) / RATE
        times.append((start, start + len(samples) / RATE))
        parts += [samples, parts[0]]
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), RATE)
    return path, times


def test_each_segment_is_answered_as_a_recording_of_it_alone(talk):
    path, times = talk
    predictor = Predictor(REPOSITORY / "model_any_voice.pt")
    segments = [Segment(*span, text=name) for span, name in zip(times, FILES, strict=True)]
    (answer,) = predictor.answers(path, segments=segments)
    alone = list(predictor.predict([REPOSITORY / "eval_data" / name for name in FILES]))
    assert [row["text"] for row in answer.stretches] == list(FILES)
    assert [(row["start"], row["end"]) for row in answer.stretches] == times
    for row, other in list(zip(answer.stretches, alone, strict=True))[:2]:  # the third does not fit one window
        assert [row[label] for label in predictor.labels] == pytest.approx(
            [other[label] for label in predictor.labels], abs=0.15
        )
        assert row["emotion"] == other["emotion"]
    (whole,) = answer.rows
    assert sum(whole[label] for label in predictor.labels) == pytest.approx(1)


def test_silence_and_times_after_the_end_get_an_error_in_their_row(talk):
    path, times = talk
    segments = [Segment(0.0, 0.9), Segment(*times[0]), Segment(500, 501)]
    (answer,) = Predictor(REPOSITORY / "model.pt").answers(path, segments=segments)
    assert [row["error"] for row in answer.stretches][:2] == ["nobody speaks", ""]
    assert "it begins after the end" in answer.stretches[2]["error"]
    assert answer.rows[0]["emotion"] == answer.stretches[1]["emotion"]


def test_text_and_speaker_stay_with_the_emotion_in_a_table_of_their_own(talk, tmp_path):
    path, ((start, end), (later, at_last), _) = talk
    table = f"speaker;start;end;text\nann;{start};{end};Bonjour, =1\nbob;{later};{at_last};\n"
    (tmp_path / "talk.csv").write_text(table)
    result = run_eval(path, "--segments", "talk.csv", cwd=tmp_path)
    assert result.returncode == 0 and "segments.csv" in result.stdout, result.stderr
    first, second = read_table(tmp_path / "segments.csv")
    assert (first["speaker"], first["text"], first["error"]) == ("ann", "Bonjour, =1", "") and first["emotion"]
    assert (second["speaker"], second["text"], second["error"]) == ("bob", "", "")


def test_statistics_are_those_of_the_speakers_of_the_segments(talk, tmp_path):
    path, times = talk
    rows = [f"{('ann', 'bob', 'ann')[n]},{start},{end}" for n, (start, end) in enumerate(times)]
    (tmp_path / "talk.csv").write_text("\n".join(["speaker,start,end", *rows]))
    answers = {}
    for adapt in ("all", "speaker"):
        options = ["--segments", "talk.csv", "--model", "any-voice", "--adapt", adapt, "--timeline", f"{adapt}.csv"]
        assert run_eval(path, *options, cwd=tmp_path).returncode == 0
        answers[adapt] = [row["confidence"] for row in read_table(tmp_path / f"{adapt}.csv")]
    assert answers["all"] != answers["speaker"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--segments", "talk.csv", "--channels", "each"], "--segments cannot be combined with --channels each"),
        (["--adapt", "speaker"], "--adapt speaker needs --segments with speakers"),
        (["--segments", "talk.csv", "--adapt", "speaker"], "talk.csv names no speakers"),
        (["eval_data", "--segments", "talk.csv"], "--segments are those of one recording"),
    ],
)
def test_wrong_usage_is_refused_with_a_remedy(talk, tmp_path, options, sentence):
    (tmp_path / "talk.csv").write_text("start,end\n1,2\n")
    (tmp_path / "eval_data").symlink_to(REPOSITORY / "eval_data")
    result = run_eval(talk[0], *options, cwd=tmp_path)
    assert result.returncode == 2 and sentence in result.stderr
