"""POST /teach: a model that is moved towards corrections, at a real server, with an encoder that takes no time."""

import pytest
import requests
from app_server import EVAL_DATA, NAMES, Server
from conftest import REPOSITORY, small_any_voice

from speech_emotion.inference.predictor import Predictor
from speech_emotion.models.checkpoint import load_checkpoint, save_checkpoint

pytest.importorskip("fastapi")

PATHS = [EVAL_DATA / name for name in NAMES]
CORRECTIONS = ["Happiness", "cold, wet", "cold, wet", "happy"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    save_checkpoint(folder / "small.pt", small_any_voice(["happy", "sad"]))
    models = ("--model", folder / "small.pt", "--model", REPOSITORY / "model.pt", "--emotions", "sad", "happy")
    with Server(folder, *models, "--max-mb", 1) as server:
        yield server
        assert server.addresses() == {"127.0.0.1"}


def teach(server, *uploads, **fields) -> requests.Response:
    return server.post(*uploads, to="/teach", **{"emotions": CORRECTIONS} | fields)


def test_the_new_model_answers_until_it_is_forgotten_and_is_that_of_its_file(server, tmp_path):
    broken = ("broken.wav", b"this is not audio")
    answer = teach(server, *PATHS, broken, emotions=[*CORRECTIONS, "happy"])
    assert answer.status_code == 200 and server.files() == []
    name, labels, report = (answer.json()[key] for key in ("model", "labels", "report"))
    assert labels == ["happy", "cold, wet"] and "4 recordings held out by file" in report
    assert "left out: 1 of 5 recordings" in report and "5: broken.wav: cannot read" in report
    assert name not in server.health()["models"] and name not in server.post(PATHS[0], model="none").text

    download = requests.get(f"{server.url}/teach/{name}", timeout=60)
    assert "attachment" in download.headers["content-disposition"]
    (tmp_path / "taught.pt").write_bytes(download.content)
    assert load_checkpoint(tmp_path / "taught.pt").labels == labels
    expected = list(Predictor(tmp_path / "taught.pt", speech_only=True).predict(PATHS))
    rows = server.post(*PATHS, model=name).json()
    for row, other in zip(rows, expected, strict=True):
        assert [row[label] for label in labels] == pytest.approx([other[label] for label in labels], abs=2e-4)

    assert requests.delete(f"{server.url}/teach/{name}", timeout=60).status_code == 204
    assert requests.get(f"{server.url}/teach/{name}", timeout=60).status_code == 404
    assert server.post(PATHS[0], model=name).status_code == 422


def test_only_the_latest_models_are_kept(server):
    names = [teach(server, *PATHS).json()["model"] for _ in range(5)]
    kept = [requests.get(f"{server.url}/teach/{name}", timeout=60).status_code for name in names]
    assert kept == [404, 200, 200, 200, 200] and len({*names}) == 5


@pytest.mark.parametrize(
    "uploads, fields, sentence",
    [
        (PATHS, {"model": "model.pt"}, "this model cannot be taught; choose model_any_voice.pt"),
        (PATHS, {"model": "/etc/passwd"}, "there is no model '/etc/passwd'; the models are small.pt, model.pt"),
        (PATHS, {"emotions": ["happy", "sad"]}, "4 recordings need as many emotions, not 2"),
        (PATHS, {"emotions": ["=1+1", "=1+1", "sad", "sad"]}, "'=1+1' cannot be a label"),
        (PATHS, {"adapt": "true"}, "adapt: Extra inputs are not permitted"),
        ([], {}, "there is no recording in the form"),
        (
            [*PATHS[:3], ("large.wav", bytes(2**20 + 1))],
            {},
            "training needs at least two recordings of each emotion; there is only one of happy (left out: 1 of 4 "
            "recordings, which cannot be used: 4: large.wav: larger than 1 MB)",
        ),
    ],
)
def test_corrections_that_cannot_teach_are_refused_with_a_sentence(server, uploads, fields, sentence):
    answer = teach(server, *uploads, **fields)
    assert answer.status_code == 422 and sentence in answer.json()["detail"], answer.text
