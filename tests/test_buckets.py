"""Recordings in a bucket, which pyarrow's own S3 client reads from a server of these tests; and Parquet tables."""

from pathlib import Path

import pytest
from conftest import read_rows, run_eval, write_noise

from speech_emotion.corpora.ravdess import EMOTIONS

WITHOUT_PYARROW = "requirements-ray.txt is not installed"


@pytest.fixture
def calls(bucket, monkeypatch) -> Path:
    """The folder that is s3://calls in this process."""
    pytest.importorskip("pyarrow", reason=WITHOUT_PYARROW)
    folder, environment = bucket
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return folder


def test_a_bucket_gives_the_rows_of_its_files(calls, model, tmp_path):
    folder = calls
    for seed, name in enumerate(["a.wav", "deep/b c#%20+é.flac", "deep/er/d.ogg", ".hidden/e.wav", "deep/.f.wav"]):
        write_noise(folder / "rows" / name, seed)
    (folder / "rows" / "broken.wav").write_text("this is not audio")
    (folder / "rows" / "notes.txt").write_text("left alone")
    tables = {}
    for place in (f"{folder}/rows", f"file://{folder}/rows", "s3://calls/rows"):
        result = run_eval(place + "/", "--model", model, cwd=tmp_path)
        assert result.returncode == 1 and "3 recordings classified, 1 without an emotion" in result.stdout, (
            result.stderr
        )
        rows = read_rows(tmp_path / "out.csv")
        assert rows[1]["error"].startswith("cannot read: libsndfile")
        tables[place] = [[row["url"].removeprefix(place), *(row[label] for label in EMOTIONS)] for row in rows]
    local, *others = tables.values()
    assert others == [local, local]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://calls/nowhere", "there is no file or folder s3://calls/nowhere"),
        ("s3://nobody", "there is no file or folder s3://nobody"),
    ],
)
def test_a_url_of_nothing_is_one_sentence(calls, model, tmp_path, path, message):
    result = run_eval(path, "--model", model, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


def test_the_summary_of_a_parquet_table(model, tmp_path):
    pytest.importorskip("pyarrow", reason=WITHOUT_PYARROW)
    write_noise(tmp_path / "a.wav", 0)
    (tmp_path / "b.wav").write_text("this is not audio")
    csv, parquet = (
        run_eval("a.wav", "b.wav", "--model", model, "--out", f"out.{kind}", cwd=tmp_path)
        for kind in ("csv", "parquet")
    )
    assert "1 recording classified, 1 without an emotion; the table is in out.csv" in csv.stdout
    assert parquet.stdout == csv.stdout.replace("out.csv", "out.parquet"), parquet.stderr
