"""The pictures of the notebooks can be read: scales, titles, colours."""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage

from research import notebook_plots
from speech_emotion.audio.windows import WindowSettings
from speech_emotion.evaluation import plots
from speech_emotion.models.cnn import EmotionCNN
from speech_emotion.models.features import FeatureSettings

FEATURES = FeatureSettings()


def images(figure) -> list[AxesImage]:
    return [image for ax in figure.axes for image in ax.images]


def tick_labels(ax) -> list[str]:
    ax.figure.canvas.draw()
    return [label.get_text() for label in ax.get_yticklabels() if label.get_visible()]


def test_every_wave_has_its_own_scale_and_its_window_behind_it():
    loud, quiet = torch.zeros(2 * 48_000), torch.zeros(48_000)
    loud[48_000], quiet[100] = -0.8, 0.02
    figure = notebook_plots.plot_waveforms(
        {"loud": loud, "quiet": quiet}, {"loud": 0.5, "quiet": -0.1}, WindowSettings(), columns=2
    )
    for ax, title, peak, start_s in zip(figure.axes, ("loud", "quiet"), (0.8, 0.02), (0.5, -0.1), strict=True):
        assert ax.get_title() == title and ax.get_ylim() == pytest.approx((-1.1 * peak, 1.1 * peak))
        assert len(tick_labels(ax)) > 1, "a scale of its own has its own numbers"
        wave, window = sorted(ax.patches, key=lambda patch: patch.zorder)[::-1]
        assert (window.get_x(), window.get_width()) == pytest.approx((start_s, 3.0))
        assert window.zorder < wave.zorder and to_hex(wave.get_facecolor()) == plots.BLUE == to_hex(
            wave.get_edgecolor()
        )
    values, edges, base = figure.axes[0].patches[0].get_data()
    assert base.min() == pytest.approx(-0.8) and edges[base.argmin()] == 1.0 and edges[-1] == 2.0


def test_mfccs_have_one_scale_and_coefficient_0_apart():
    generator = torch.Generator().manual_seed(0)
    mfccs = {
        name: torch.randn(64, FEATURES.n_frames, generator=generator) * scale for name, scale in (("a", 1), ("b", 9))
    }
    mfccs["a"][0], mfccs["b"][0] = -500, -300
    figure = notebook_plots.plot_mfccs(mfccs, FEATURES)
    shown = images(figure)
    assert [image.get_array().shape for image in shown] == [(63, FEATURES.n_frames)] * 2
    (low, high), other = (image.get_clim() for image in shown)
    assert (low, high) == other and low == -high and 5 < high < 30, "without the level"
    levels = [ax for ax in figure.axes if ax.lines]
    assert [ax.get_title() for ax in levels] == ["a", "b"] and levels[0].get_ylim() == levels[1].get_ylim()
    assert set(levels[0].lines[0].get_ydata()) == {-500}
    assert "coefficients" in figure.axes[-1].get_ylabel(), "a colour bar"


def test_the_drawing_of_the_network_has_the_sizes_of_its_layers():
    network = EmotionCNN.for_features(FEATURES, n_classes=8)
    sizes = []
    for layer in (network.spectral.blocks[0], network.cepstral.blocks[-1], network.spectral.join):
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    network.eval()(torch.zeros(1, FEATURES.n_mfcc, FEATURES.n_frames))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    (ax,) = notebook_plots.plot_network(network).axes
    texts = [text.get_text() for text in ax.texts]
    for size in sizes:
        assert any(text.endswith("\n" + " x ".join(map(str, size))) for text in texts)
    assert sum("residual" in text for text in texts) == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
