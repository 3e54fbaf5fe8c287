import numpy as np
import pytest
from matplotlib.image import imread

from hcvae import plots
from hcvae.errors import UserError

TIMES_MS = np.arange(200) * 0.05
RANDOM = np.random.default_rng(0)


def waveforms(*shape):
    return RANDOM.normal(size=(*shape, 200)).astype(np.float32)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_swap_grid_has_a_panel_a_pair_with_its_waves_named():
    signals = waveforms(2, 3)
    latency_ms = np.full((2, 3, 3), np.nan)
    latency_ms[1, 2] = 1.5, 3.7, 5.6
    figure = plots.swap_grid(signals, TIMES_MS, latency_ms)
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[5].get_lines()[0].get_ydata(), signals[1, 2])
    assert texts(figure.axes[5]) == ["I", "III", "V"]
    assert texts(figure.axes[0]) == []
    unexchanged = [axis.get_lines()[0].get_color() == plots.MARKED for axis in figure.axes]
    assert unexchanged == [True, False, False, False, True, False]


def test_a_wave_is_marked_on_the_waveform_at_its_latency():
    ramp = TIMES_MS[None] * 2
    figure = plots.interpolation(np.vstack([ramp, ramp]), TIMES_MS, np.array([[1.0, np.nan, 50.0]] * 2))
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "."]
    assert [mark.get_xdata()[0] for mark in marks] == [1.0, 1.0]
    assert marks[0].get_ydata()[0] == pytest.approx(2.0 - ramp.mean())


def test_levels_fall_from_the_top():
    figure = plots.level_series(waveforms(3), np.array([20.0, 80.0, 50.0]), TIMES_MS)
    axis = figure.axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert [label for _, label in sorted(zip(axis.get_yticks(), labels, strict=True), reverse=True)] == [
        "80 dB", "50 dB", "20 dB",
    ]  # fmt: skip


def test_generated_families_stand_on_the_recording_with_each_wave_named_once():
    signals = [waveforms(5), waveforms(2)]
    latency_ms = [np.full((n, 3), (1.5, np.nan, 5.6)) for n in (5, 2)]
    figure = plots.generated(signals, TIMES_MS, ["60 dB", "40 dB"], latency_ms, recorded_uv=waveforms(1)[0])
    for axis, family in zip(figure.axes, signals, strict=True):
        recorded, *drawn = [line for line in axis.get_lines() if line.get_marker() == "None"]
        assert recorded.get_color() == plots.RECORDED
        assert all(np.array_equal(line.get_ydata(), wave) for line, wave in zip(drawn, family, strict=True))
        assert texts(axis) == ["I", "V"]
        marks = [line for line in axis.get_lines() if line.get_marker() == "."]
        np.testing.assert_allclose(marks[1].get_ydata(), family[:, 112], atol=1e-6)  # 5.6 ms
    assert [axis.get_title() for axis in figure.axes] == ["60 dB", "40 dB"]
    assert figure.axes[0].get_ylabel() == "uV"


def test_families_and_reconstructions_show_all_they_are_given():
    families = plots.latent_families(waveforms(3, 5), TIMES_MS, "z_global", "z_local")
    assert [len(axis.get_lines()) for axis in families.axes] == [5, 5, 5]
    compared = plots.reconstructions(waveforms(6), waveforms(6), TIMES_MS)
    assert [axis.get_visible() for axis in compared.axes] == [True] * 6 + [False] * 2
    assert len(compared.axes[5].get_lines()) == 2


def test_use_of_latents_is_sorted_by_variance():
    variances = {"global": np.array([0.1, 1.0]), "local": np.array([3.0, 2.0, 5.0])}
    kl = {"global": np.array([7.0, 8.0]), "local": np.array([1.0, 2.0, 3.0])}
    heights = [[bar.get_height() for bar in axis.patches] for axis in plots.latent_use(variances, kl).axes]
    assert heights == [[1.0, 0.1], [5, 3, 2], [8, 7], [3, 1, 2]]


def test_figures_are_saved_as_png_or_refused(tmp_path):
    figure = plots.interpolation(waveforms(2), TIMES_MS)
    plots.save_figure(figure, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").ndim == 3
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    with pytest.raises(UserError, match=r"missing/figure\.png: cannot be written"):
        plots.save_figure(figure, tmp_path / "missing" / "figure.png")
