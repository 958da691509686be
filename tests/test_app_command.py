"""app.py as a command: its options, and the sentences that it ends with."""

import socket

import pytest
from conftest import REPOSITORY, call_main

from speech_emotion.commands import serve
from speech_emotion.inference.predictor import Predictor


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
