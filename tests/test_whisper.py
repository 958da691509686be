"""The encoder against the implementation of another project, with the weights that ship."""

import pytest
import torch
from conftest import REPOSITORY

from speech_emotion.audio.resampling import load_audio
from speech_emotion.audio.windows import recording_window
from speech_emotion.models.any_voice import load_encoder
from speech_emotion.models.checkpoint import load_checkpoint
from speech_emotion.models.features import WhisperFeatures, WhisperLogMel

transformers = pytest.importorskip("transformers")
FEATURES = WhisperFeatures()
THEIRS = {  # names of transformers by OpenAI's
    "attn.query": "self_attn.q_proj", "attn.key": "self_attn.k_proj", "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj", "attn_ln": "self_attn_layer_norm", "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1", "mlp.2": "fc2",
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder():
    return load_checkpoint(REPOSITORY / "model_any_voice.pt").network.for_inference().encoder


@pytest.fixture(scope="module")
def window():
    waveform = load_audio(REPOSITORY / "eval_data" / "even_male.flac", FEATURES.sample_rate)
    return recording_window(waveform, FEATURES)


def test_the_spectrogram_is_whispers(window):
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=3)
    loud = window / window.abs().max()
    theirs = extractor(loud.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(WhisperLogMel(FEATURES)(window[None]), theirs, atol=1e-4, rtol=0)


def test_the_hidden_states_are_those_of_another_implementation(encoder, window):
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=len(encoder.blocks), encoder_attention_heads=8, encoder_ffn_dim=2048,
        max_source_positions=150, num_mel_bins=80,
    )  # fmt: skip
    other = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    state = {"embed_positions.weight": encoder.positional_embedding}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            layer, _, kind = rest.rpartition(".")
            state[f"layers.{number}.{THEIRS[layer]}.{kind}"] = tensor
        elif name.startswith("conv"):
            state[name] = tensor
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) == {"layer_norm.weight", "layer_norm.bias"}
    log_mel = WhisperLogMel(FEATURES)(window[None])
    theirs = []
    for layer in other.layers:
        layer.register_forward_hook(lambda _, __, out: theirs.append(out[0] if isinstance(out, tuple) else out))
    with torch.inference_mode():
        other(log_mel)
        ours = encoder(log_mel)
    assert len(ours) == len(theirs) == len(encoder.blocks)
    for one, another in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, another.view_as(one), atol=1e-4, rtol=0)


def test_a_file_as_openai_publishes_it_is_read(encoder, tmp_path):
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"dims": {}, "model_state_dict": state | {"decoder.ln.weight": torch.ones(1)}}, tmp_path / "base.pt")
    read = load_encoder(tmp_path / "base.pt", n_blocks=2, n_positions=100)
    assert len(read.blocks) == 2
    assert torch.equal(read.positional_embedding, encoder.positional_embedding[:100])
    assert torch.equal(read.blocks[1].mlp[2].weight, encoder.blocks[1].mlp[2].weight)
