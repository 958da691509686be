"""docs/python.md, example by example, and what --embeddings writes."""

import re
import shutil
import textwrap

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, run_eval, write_noise

from speech_emotion import Predictor
from speech_emotion.corpora.ravdess import EMOTIONS

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = [textwrap.dedent(part) for part in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.MULTILINE)]
VOICE = REPOSITORY / "eval_data" / "even_male.flac"
ANSWERED = "|".join(EMOTIONS)
SAYS = [
    r"diary/a\.flac (angry|happy|neutral|sad) 0\.\d+ \n",
    rf"\d\.\d to \d\.\d s: ({ANSWERED})\n(.|\n)*\[\('ann', 'hello', '({ANSWERED})'\)\]\n",
    rf"(not )?adapted.*\ntakes/1.wav ({ANSWERED})\ntakes/2.wav ({ANSWERED})\n",
    rf"({ANSWERED})\n",
    r"hello.wav 0 \(1, \d+\) tensor\((.|\n)*talk.wav 0 \([2-9], \d+\) tensor\((.|\n)*",
]


@pytest.mark.parametrize(("example", "says"), [*zip(EXAMPLES, SAYS, strict=True)])
def test_every_example_runs_as_it_stands(example, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("diary", "takes"):
        (tmp_path / folder).mkdir()
    shutil.copy(VOICE, "diary/a.flac")
    samples, rate = soundfile.read(VOICE)
    for name in ("takes/1.wav", "takes/2.wav", "hello.wav"):
        soundfile.write(name, samples[: 2 * rate], rate)
    soundfile.write("talk.wav", np.tile(samples, 2), rate)
    (tmp_path / "talk.csv").write_text("start,end,speaker,text\n0,2,ann,hello\n")
    exec(compile(example, "docs/python.md", "exec"), {})
    assert re.fullmatch(says, capsys.readouterr().out)


def test_eval_writes_the_mean_embedding_of_each_recording_with_speech(tmp_path):
    shutil.copy(VOICE, tmp_path / "a.flac")
    write_noise(tmp_path / "b.wav", 0)
    result = run_eval("b.wav", "a.flac", "--embeddings", "e.npz", cwd=tmp_path)
    assert result.returncode == 1 and result.stdout.endswith("the embeddings are in e.npz\n")
    with np.load(tmp_path / "e.npz") as arrays:
        urls, embeddings = arrays["url"].tolist(), arrays["embedding"]
    ((_, voices),) = Predictor("any-voice").embeddings(tmp_path / "a.flac")
    assert urls == ["a.flac"]
    np.testing.assert_allclose(embeddings, voices[0].numpy().mean(axis=0, keepdims=True), rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "b.wav", "e.npz", "out.csv"]
