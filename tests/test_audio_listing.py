"""Finding recordings in unusual folders."""

import pytest

from speech_emotion.audio.files import find_recordings
from speech_emotion.audio.reading import AudioError, read_pieces


def test_files_are_listed_once_by_name_and_before_folders(tmp_path):
    for name in ("b/c/1.wav", "b/2.wav", "a/3.flac", "a.wav", "b/.hidden/4.wav", "b/notes.txt", "z.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "again").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    found, n_others = find_recordings([tmp_path, tmp_path / "a.wav"])
    names = ["a.wav", "z.mp3", "a/3.flac", "b/2.wav", "b/c/1.wav"]
    assert found == [str(tmp_path / name) for name in names] and n_others == 1


def test_what_is_no_recording_is_skipped_and_hides_none(tmp_path):
    for name in ("$RECYCLE.BIN/a.wav", "#recycle/a.wav", "@eaDir/a.wav", "System Volume Information/a.wav", "c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a.ts").write_text("export const grün = 1;\n")
    (tmp_path / "a.mts").write_text("import './a.ts';\n")
    (tmp_path / "b.ts").write_bytes(b"\x47\x40\x00\x10\x00\x00" + b"\xff" * 182)
    (tmp_path / "b.wav").symlink_to("b.wav")
    assert find_recordings([tmp_path]) == ([str(tmp_path / name) for name in ("b.ts", "b.wav", "c.wav")], 2)


def test_a_folder_without_recordings_says_what_it_has(tmp_path):
    for name in ("a.txt", "b.TXT", "c.docx", "README"):
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError) as error:
        find_recordings([tmp_path])
    endings = "(of 4 other files: 2 with .txt, 1 with no ending, 1 with .docx)"
    assert str(error.value) == f"there is no audio file in {tmp_path} {endings}"


@pytest.fixture
def calls(tmp_path, monkeypatch):
    names = "ann/1.m4a ann/2.m4a ann/2.txt ann/deep/3.wav bob/4.dat [x]/5.wav .hidden/6.wav @eaDir/7.wav"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected", "n_others"),
    [
        ("ann/?.m4a", ["ann/1.m4a", "ann/2.m4a"], 0),
        ("ann/*", ["ann/1.m4a", "ann/2.m4a", "ann/deep/3.wav"], 1),
        ("ann/**", ["ann/1.m4a", "ann/2.m4a", "ann/deep/3.wav"], 1),
        ("**/*.wav", ["[x]/5.wav", "ann/deep/3.wav"], 0),
        ("b*/*.dat", ["bob/4.dat"], 0),
        ("[x]/5.wav", ["[x]/5.wav"], 0),
    ],
)
def test_a_pattern_that_the_shell_did_not_expand(calls, pattern, expected, n_others):
    assert find_recordings([pattern]) == (expected, n_others)
    with pytest.raises(FileNotFoundError, match=r"^there is no file or folder ann/\*\.mp3$"):
        find_recordings(["ann/*.mp3"])


@pytest.mark.parametrize("address", ["https://example.org/a.wav", "http://x/a.mp3?b=c", "HTTPS://x/*.wav"])
def test_a_web_address_must_be_downloaded_first(address):
    with pytest.raises(ValueError, match="^.* is a web address: download the file first, and give its name$"):
        find_recordings([address])
    with pytest.raises(AudioError, match="^cannot read: .* download the file first"):
        list(read_pieces(address))
