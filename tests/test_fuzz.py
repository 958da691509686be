"""Fuzzing: valid files with changed bytes, for the two readers and the checkpoint loader."""

import copy
import io

import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import encoded, encoded_noise

from speech_emotion.audio import isolation
from speech_emotion.audio.reading import AudioError, read_pieces
from speech_emotion.models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings

pytestmark = pytest.mark.slow
bounded = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NOISE = np.random.default_rng(0).normal(scale=0.1, size=4_000)


RECORDINGS = [
    *(encoded_noise(0.25, format="WAV", subtype=subtype) for subtype in ("PCM_16", "FLOAT", "IMA_ADPCM")),
    *(encoded_noise(0.25, format=name) for name in ("FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")),
    *(encoded(f"a {kind} 48000", NOISE) for kind in ("aac ipod", "libopus webm", "aac adts", "flac matroska")),
]


@st.composite
def damaged(draw, originals: list[bytes]) -> bytes:
    """One of `originals` with bytes changed, most of them in its header, and perhaps cut."""
    content = bytearray(draw(st.sampled_from(originals)))
    positions = st.integers(0, 200) | st.integers(0, len(content) - 1)
    for position, value in draw(st.lists(st.tuples(positions, st.integers(0, 255)), max_size=12)):
        content[position % len(content)] = value
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


@pytest.fixture
def limited():
    """Two gigabytes more than now for this process; those that decode for it have a limit of their own below that."""
    resource = pytest.importorskip("resource")
    assert isolation.MEMORY < 2e9
    before, used = resource.getrlimit(resource.RLIMIT_AS), psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 2_000_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@bounded
@given(content=damaged(RECORDINGS) | st.binary(max_size=2000))
def test_any_bytes_give_finite_samples_or_an_audio_error(tmp_path, limited, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    try:
        pieces = list(read_pieces(path))
    except AudioError as error:
        assert str(error).startswith("cannot read: ") and "\n" not in str(error)
        assert not any(text in str(error) for text in ("Error number", "NoneType", "expected bytes"))
        assert "libsndfile: it would need too much memory" not in str(error)
    else:
        assert pieces
        for samples, _ in pieces:
            assert samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    features = FeatureSettings(n_mfcc=13, window_s=0.5)
    network = EmotionCNN.for_features(features, 2, channels=(4, 4), n_embedding=4).eval()
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_checkpoint(path, Checkpoint(network, ["calm", "sad"]))
    return path.read_bytes()


def check_loader(path) -> None:
    try:
        loaded = load_checkpoint(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        shape = (1, loaded.features.n_mfcc, loaded.features.n_frames)
        assert loaded.network(torch.zeros(shape)).isfinite().all()


@bounded
@given(data=st.data())
def test_any_bytes_give_a_working_model_or_a_checkpoint_error(tmp_path, checkpoint, data):
    path = tmp_path / "model.pt"
    path.write_bytes(data.draw(damaged([checkpoint])))
    check_loader(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@bounded
@given(data=st.data())
def test_any_setting_gives_a_working_model_or_a_checkpoint_error(tmp_path, checkpoint, data):
    content = copy.deepcopy(torch.load(io.BytesIO(checkpoint), weights_only=True))
    part = data.draw(st.sampled_from([content, content["features"], content["model"], content["state_dict"]]))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(values)
    torch.save(content, tmp_path / "model.pt")
    check_loader(tmp_path / "model.pt")
