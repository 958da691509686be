"""Segments from transcribers, diarisers and annotation programs."""

import json

import pytest

from speech_emotion.corpora.segments import AnnotationError, Segment, read_segments

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
        ("talk.TextGrid", TEXT_GRID, {"tier": "words"}, [HELLO]),
        ("talk.json", whisper(), {}, [HELLO]),
        ("talk.json", whisper(speaker="SPEAKER_00"), {}, [Segment(1, 2.5, "Well, hello there", "SPEAKER_00")]),
    ],
)
def test_every_format_gives_times_text_and_speaker(tmp_path, name, content, options, segments):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / name).write_text(content, encoding)
        assert read_segments(tmp_path / name, **options) == segments


def test_segments_come_in_order_of_time(tmp_path):
    (tmp_path / "talk.csv").write_text("start,end\n3,4\n1,2\n")
    assert [segment.start for segment in read_segments(tmp_path / "talk.csv")] == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("talk.pdf", "x", {}, r"talk\.pdf is not a format of segments; these are \.srt, .*\.json"),
        ("talk.srt", "", {}, r"talk\.srt (has no segments|is not a valid \.srt file of segments)"),
        ("talk.csv", "begin,end\n1,2\n", {}, "has the columns begin, end: start and end are required, text and spea"),
        (
            "talk.csv",
            "start,end,text\n1,2,Well, hello\n",
            {},
            "line 2 of .*talk.csv does not have one value per col",
        ),
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


def test_a_missing_file_of_segments_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="cannot read .*none.srt: No such file"):
        read_segments(tmp_path / "none.srt")
