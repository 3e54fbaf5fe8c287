import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.image import imread
from matplotlib.text import Text

from hcvae import plots
from hcvae.errors import UserError
from hcvae.figure_parts import EXCHANGED, MODEL, RECORDED
from hcvae.plots import Panel
from tests.fixtures.contrast import contrast

TIMES_MS = np.arange(200) * 0.05
RANDOM = np.random.default_rng(0)


def waveforms(*shape):
    return RANDOM.normal(size=(*shape, 200)).astype(np.float32)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_swap_grid_has_a_panel_per_pair_with_named_waves():
    signals = waveforms(2, 3)
    latency_ms = np.full((2, 3, 3), np.nan)
    latency_ms[1, 2] = 1.5, 3.7, 5.6
    figure = plots.swap_grid(signals, TIMES_MS, latency_ms)
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[5].get_lines()[0].get_ydata(), signals[1, 2])
    assert texts(figure.axes[5]) == ["I", "III", "V"]
    assert texts(figure.axes[0]) == []
    colors = [axis.get_lines()[0].get_color() for axis in figure.axes]
    assert colors == [MODEL, EXCHANGED, EXCHANGED, EXCHANGED, MODEL, EXCHANGED]
    assert legend(figure) == ["both latents of one recording", "latents of two recordings", "predicted wave"]


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


def test_generated_families_are_plotted_with_the_recording_and_each_wave_named_once():
    families, recorded = [waveforms(5), waveforms(2)], waveforms(1)[0]
    shown = [
        Panel(title, family, np.full((len(family), 3), (1.5, np.nan, 5.6)), recorded={"recording, row 3": recorded})
        for title, family in zip(("60 dB", "40 dB"), families, strict=True)
    ]
    figure = plots.generated(shown, TIMES_MS)
    for axis, family in zip(figure.axes, families, strict=True):
        *drawn, last = [line for line in axis.get_lines() if line.get_marker() == "None"]
        np.testing.assert_array_equal(last.get_ydata(), recorded)
        assert last.get_color() == RECORDED
        assert all(np.array_equal(line.get_ydata(), wave) for line, wave in zip(drawn, family, strict=True))
        assert {line.get_color() for line in drawn} == {MODEL}
        assert texts(axis) == ["I", "V"]
        marks = [line for line in axis.get_lines() if line.get_marker() == "."]
        np.testing.assert_allclose(marks[1].get_ydata(), family[:, 112], atol=1e-6)  # 5.6 ms
    assert [axis.get_title() for axis in figure.axes] == ["60 dB", "40 dB"]
    assert figure.axes[0].get_ylabel() == "uV"
    assert figure.axes[0].get_xlabel() == "ms after stimulus onset"
    assert legend(figure) == ["recording, row 3", "generated", "predicted wave"]


def test_steps_have_colours_in_their_order_and_a_legend():
    steps = [f"{share:.0%}" for share in np.linspace(0, 1, 9)]
    figure = plots.generated([Panel("", waveforms(9), steps=steps)], TIMES_MS)
    assert legend(figure) == ["0%", "25%", "50%", "75%", "100%"]
    colors = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(set(colors)) == 9
    handles = figure.legends[0].legend_handles
    assert [handle.get_color() for handle in handles] == colors[::2]


def overlapping(figure):
    """Pairs of texts that a reader cannot tell from each other, as the PNG has them."""
    figure.draw_without_rendering()
    ticks = [
        (tick, which.get_view_interval())
        for axis in figure.axes
        for which in (axis.xaxis, axis.yaxis)
        for tick in which.get_major_ticks()
    ]
    beyond = {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    shown = [text for text in shown if text not in beyond]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown if text.get_window_extent().width > 1]
    return [(a, b) for number, (a, one) in enumerate(boxes) for b, two in boxes[:number] if one.overlaps(two)]


@pytest.mark.parametrize("count", [1, 5, 14])
def test_no_text_hides_another_or_leaves_the_figure(count):
    title = "a_dataset_of_a_long_name, guinea pig, 16 kHz, 60 dB, age_years 34.5, hearing_loss_db 12.25"
    shown = [
        Panel(title, waveforms(3), np.full((3, 3), (2.0, 2.1, 5.6)), scale=number % 2, recorded={"recording": TIMES_MS})
        for number in range(count)
    ]
    figure = plots.generated(shown, TIMES_MS, "A title that has to be wrapped, as it is longer than one panel " * 2)
    assert overlapping(figure) == []
    for text in (*(axis.title for axis in figure.axes), figure._suptitle):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_every_line_and_text_is_visible():
    signals, latency_ms = waveforms(12), np.full((12, 3), (1.5, 3.5, 5.6))
    figures = [
        plots.swap_grid(signals.reshape(3, 4, -1), TIMES_MS, latency_ms.reshape(3, 4, 3)),
        plots.latent_families(signals.reshape(3, 4, -1), TIMES_MS, "z_global", "z_local"),
        plots.generated([Panel("", signals, latency_ms, recorded={"recording": signals[0]})], TIMES_MS),
        plots.generated([Panel("", signals, steps=list("abcdefghijkl"))], TIMES_MS),
        plots.interpolation(signals, TIMES_MS, latency_ms),
        plots.level_series(signals, np.arange(12), TIMES_MS, latency_ms),
        plots.reconstructions(signals, signals, TIMES_MS, latency_ms, latency_ms),
        plots.latent_use({"global": np.ones(3)}, {"global": np.ones(3)}),
    ]
    for figure in figures:
        lines = [line for axis in figure.axes for line in axis.get_lines()]
        drawn = [*lines, *(line for one in figure.legends for line in one.get_lines()), *figure.findobj(Text)]
        assert len(drawn) > 10
        for one in drawn:
            color = to_rgba(one.get_color(), one.get_alpha())
            assert contrast(color) >= 3, (one, color)


def test_families_and_reconstructions_show_all_they_are_given():
    families = plots.latent_families(waveforms(3, 5), TIMES_MS, "z_global", "z_local")
    assert [len(axis.get_lines()) for axis in families.axes] == [5, 5, 5]
    compared = plots.reconstructions(waveforms(6), waveforms(6), TIMES_MS)
    assert [len(axis.get_lines()) for axis in compared.axes] == [2] * 6


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
