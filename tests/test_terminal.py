"""What the programs print, and how they end, whatever their surroundings: closed streams, signals, foreign text."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, call_main, eval_command, read_rows, run_python, wait_until, write_noise

from speech_emotion import __main__
from speech_emotion.models.published import find_model
from speech_emotion.terminal import command_line, printable, say

ESCAPE = "\x1b]0;owned\x07"


def test_text_from_files_is_shown_and_not_executed(capsys):
    assert printable("é\x1b[2J\x9b\n\u202e\udcff") == "é\\x1b[2J\\x9b\\n\\u202e\\udcff"
    say(f"a\n{ESCAPE}")
    say(ESCAPE, is_error=True)
    assert capsys.readouterr() == ("a\n\\x1b]0;owned\\x07\n", "\\x1b]0;owned\\x07\n")


@pytest.fixture
def foreign(tmp_path, model) -> Path:
    """A folder of names and contents that are escape sequences."""
    (tmp_path / "small.pt").symlink_to(model)
    for name in ("a.wav", f"{ESCAPE}.wav"):
        write_noise(tmp_path / name, 0)
    (tmp_path / "missing.csv").write_text(f"path,emotion\n{ESCAPE},sad\n")
    (tmp_path / "unknown.csv").write_text(f"path,emotion\na.wav,{ESCAPE}\n")
    (tmp_path / "some.csv").write_text(f"path,emotion\na.wav,sad\n{ESCAPE}.wav,{ESCAPE}\n")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        "a.wav --model ESCAPE",
        "--labels unknown.csv --model small.pt",
        "--labels some.csv --model small.pt",
        "a.wav --labels unknown.csv --map ESCAPE=sad --out ESCAPE.csv --model small.pt",
        "a.wav --plot ESCAPE",
        "compare ESCAPE b",
        "export ESCAPE b",
        "train --labels missing.csv --out m.pt",
    ],
)
def test_no_command_sends_an_escape_sequence_to_the_terminal(foreign, arguments):
    arguments = [argument.replace("ESCAPE", ESCAPE) for argument in arguments.split()]
    result = call_main(__main__.main, arguments, foreign)
    assert "\\x1b]0;owned" in result.stdout + result.stderr
    assert "\x1b" not in result.stdout + result.stderr.replace("\x1b[A", "")  # tqdm moves the cursor


@pytest.mark.parametrize(
    ("module", "arguments", "sentence"),
    [
        ("pyarrow.fs", ["s3://not-opened-before/a.wav"], "s3://not-opened-before/ needs pyarrow: pip install '.[ray]'"),
        ("pyarrow", ["a.wav", "--out", "a.parquet"], "a .parquet file needs pyarrow: pip install '.[ray]'"),
        ("ray", ["a.wav", "--ray"], "--ray needs ray: pip install '.[ray]'"),
        ("uvicorn", ["serve"], "the web page needs fastapi: pip install '.[app]'"),
    ],
)
def test_without_a_package_one_sentence_says_what_to_install(tmp_path, monkeypatch, module, arguments, sentence):
    write_noise(tmp_path / "a.wav", 0)
    monkeypatch.setitem(sys.modules, module, None)
    result = call_main(__main__.main, arguments, tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.endswith(f": {sentence} in the folder of eval.py\n")


def test_a_run_that_can_say_nothing_writes_its_table(tmp_path, model):
    write_noise(tmp_path / "a.wav", 0)
    command = subprocess.list2cmdline(eval_command("a.wav", "--model", model, "--timeline", "t.csv"))
    result = subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"], cwd=tmp_path, check=False, timeout=120)
    assert result.returncode == 0
    for name in ("out.csv", "t.csv"):
        assert [row["url"] for row in read_rows(tmp_path / name)] == ["a.wav"]


def test_a_recording_from_standard_input_is_gone_after_a_signal(tmp_path, model):
    (tmp_path / "temporary").mkdir()
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    command, heed = eval_command("-", "--model", model), lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=heed, **pipes) as process:
        wait_until(lambda: bool(list((tmp_path / "temporary").glob("*/recording"))), process)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
        assert process.stderr.read() == "\neval.py: stopped\n"
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"] and not list((tmp_path / "temporary").iterdir())


def test_signals_stop_once_unless_they_are_ignored_and_are_as_before_afterwards():
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt) as stop, command_line():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)  # the impatient do not interrupt what cleans up
        assert stop.value.args == (signal.SIGTERM,)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_model_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("any-voice", "sad-removed", "model"):
        file = {"model": "model.pt"}.get(name, f"model_{name.replace('-', '_')}.pt")
        assert find_model(name) == REPOSITORY / file
    (tmp_path / "any-voice").write_bytes(b"")
    assert find_model("any-voice") == Path("any-voice")  # what is there goes first


@pytest.mark.parametrize("door", ["eval.py", "train.py", "app.py"])
def test_every_door_says_how_to_use_it_without_a_library(door):
    libraries = ["torch", "numpy", "pandas", "matplotlib", "sklearn", "fastapi"]
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({libraries})); sys.argv = ['{door}', '--help']\n"
    code += f"runpy.run_path('{door}', run_name='__main__')"
    result = run_python(code)
    assert result.stdout.startswith(f"usage: {door} ")
