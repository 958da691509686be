"""app.py as a command: its options, and the sentences that it ends with."""

import socket
import sys

import pytest
from conftest import REPOSITORY, call_main

from speech_emotion.commands import serve
from speech_emotion.inference.predictor import Predictor
from speech_emotion.models import published


def test_without_its_packages_one_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert serve.main([]) == 2
    assert capsys.readouterr().err == (
        "app.py: the web page needs fastapi: pip install '.[app]' in the folder of eval.py\n"
    )


def test_the_model_for_other_voices_is_offered_first_where_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published, "__file__", str(tmp_path / "speech_emotion" / "models" / "published.py"))
    for name in ("model.pt", "model_sad_removed.pt"):
        (tmp_path / name).touch()
    assert list(serve.load_models(None, str)) == ["model.pt", "model_sad_removed.pt"]
    (tmp_path / "model_any_voice.pt").touch()
    assert next(iter(serve.load_models(None, str))) == "model_any_voice.pt"


def test_a_published_model_without_an_emotion_of_the_server_is_not_offered(capsys):
    assert list(serve.load_models(None, Predictor, ["sad", "angry"])) == ["model_any_voice.pt", "model.pt"]
    assert "model_sad_removed.pt is not offered: this model does not have the emotion sad" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--max-mb", "-5"], "argument --max-mb: '-5' is not a whole number from 1 to"),
        (["--max-minutes", "0"], "argument --max-minutes: '0' is not a whole number from 1 to"),
        (["--token", ""], "the token (or $SPEECH_EMOTION_TOKEN) is empty or has spaces"),
        (["--token", "two words"], "the token (or $SPEECH_EMOTION_TOKEN) is empty or has spaces"),
        (["--cors", "*"], "argument --cors: '*' is not an origin, such as https://example.org (without a path)"),
        (["--cors", "example.org"], "'example.org' is not an origin"),
        (["--cors", "https://example.org/"], "'https://example.org/' is not an origin"),
        (["--cors", "https://*.example.org"], "'https://*.example.org' is not an origin"),
        (["--emotions", "sad", "angrry"], "app.py: this model does not have the emotion angrry; did you mean angry?"),
        (["--emotions", "sad"], "app.py: at least two emotions are needed"),
        (["--model", "nowhere.pt"], "there is no model file nowhere.pt; there are model.pt"),
        (["--model", "model.pt", "--model", "./model.pt"], "two models have the same file name; rename one"),
        (["--port", "99999"], "port must be 0-65535"),
        (["--port", "{taken}"], "is in use; choose another with --port"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, sentence):
    pytest.importorskip("fastapi")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = [argument.format(taken=taken.getsockname()[1]) for argument in arguments]
        result = call_main(serve.main, ("--port", "0", *arguments), REPOSITORY)
    assert result.returncode == 2 and result.stdout == "" and sentence in result.stderr.splitlines()[-1]


def test_an_empty_token_of_the_environment_does_not_let_everyone_in(monkeypatch):
    monkeypatch.setenv("SPEECH_EMOTION_TOKEN", " ")
    assert "is empty or has spaces" in call_main(serve.main, (), REPOSITORY).stderr
