"""app.py as a command: its options, and the sentences that it ends with."""

import socket

import pytest
from app_server import run_app
from conftest import REPOSITORY

import app


def test_without_its_packages_one_sentence_says_what_to_install():
    result = run_app(cwd=REPOSITORY, before="sys.modules['uvicorn'] = None")
    assert result.returncode == 2
    assert result.stderr == "app.py: the web page needs more packages: pip install -r requirements-app.txt\n"


def test_help_needs_neither_server_nor_torch():
    result = run_app("--help", cwd=REPOSITORY, before="sys.modules.update(fastapi=None, torch=None, numpy=None)")
    assert result.returncode == 0 and "--max-mb" in result.stdout


def test_the_model_for_other_voices_is_offered_first_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(app, "HERE", tmp_path)
    assert list(app.load_models(None, str)) == ["model.pt", "model_sad_removed.pt"]
    (tmp_path / "model_any_voice.pt").touch()
    assert next(iter(app.load_models(None, str))) == "model_any_voice.pt"


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--max-mb", "-5"], "argument --max-mb: '-5' is not a positive whole number"),
        (["--max-minutes", "0"], "argument --max-minutes: '0' is not a positive whole number"),
        (["--model", "nowhere.pt"], "there is no model file nowhere.pt; python3 train.py makes one"),
        (["--model", "model.pt", "--model", "./model.pt"], "two models have the same file name; rename one"),
        (["--port", "99999"], "port must be 0-65535"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, sentence):
    result = run_app("--port", "0", *arguments, cwd=REPOSITORY)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert sentence in result.stderr.splitlines()[-1]


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run_app("--port", str(taken.getsockname()[1]), cwd=REPOSITORY)
    assert result.returncode == 2
    assert "is in use; choose another with --port" in result.stderr and result.stderr.count("\n") == 1
