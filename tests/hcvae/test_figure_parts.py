import numpy as np
import pytest
from matplotlib.figure import Figure

from hcvae import figure_parts
from hcvae.figure_parts import add_waterfall, filled, label_of, ordered_colors, panels, round_length
from tests.fixtures.contrast import contrast


def test_contrast_agrees_with_the_standard():
    assert contrast("black") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)  # the known example that fails 4.5:1


def test_every_colour_is_visible_on_white_and_distinct():
    named = [figure_parts.RECORDED, figure_parts.MODEL, figure_parts.EXCHANGED, figure_parts.WAVE]
    assert len(set(named)) == 4
    for color in (*named, *ordered_colors(40)):
        assert contrast(color) >= 3, color


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [
        ("stimulus_level_db", 60.0, "60 dB"),
        ("stimulus_frequency_hz", 11313.7, "11.31 kHz"),
        ("stimulus_frequency_hz", 500, "500 Hz"),
        ("stimulus_rate_hz", 37.1, "37.1/s"),
        ("dataset", "a $b$", "a $b$"),
        ("sex", "F", "sex F"),
        ("sex", None, "sex null"),
    ],
)
def test_labels_have_units(column, value, label):
    assert label_of(column, value) == label


def test_dollars_make_no_formula_and_long_text_is_wrapped(tmp_path):
    figure = Figure(layout="constrained")
    text = figure.suptitle(filled(r"costs $\frac $5 " * 10, 3, 10))
    figure.savefig(tmp_path / "a.png")
    assert len(text.get_text().split("\n")) > 2
    assert text.get_window_extent().width <= 3.2 * figure.dpi


def test_panels_of_one_scale_share_the_axis():
    figure, axes = panels(1, 3, ["mouse", "human", "mouse"])
    for axis, size in zip(axes, (1, 0.01, 3), strict=True):
        axis.plot([0, 1], [0, size])
    assert axes[0].get_ylim() == axes[2].get_ylim()
    assert axes[0].get_ylim()[1] >= 3
    assert axes[1].get_ylim()[1] < 0.02
    figure.draw_without_rendering()
    assert all(any(label.get_visible() for label in axis.get_yticklabels()) for axis in axes)


def test_a_waterfall_has_a_correct_scale_bar():
    figure = Figure()
    axis = figure.subplots()
    times_ms = np.arange(100) / 10
    drawn = add_waterfall(axis, times_ms, [3 * np.sin(times_ms), np.sin(times_ms)], ["60 dB", "40 dB"], ["k", "k"])
    assert drawn[0].mean() > drawn[1].mean()
    assert np.ptp(drawn[0]) == pytest.approx(3 * np.ptp(drawn[1]))
    bar = axis.get_lines()[-1].get_ydata()
    (text,) = (text.get_text() for text in axis.texts)
    assert text == f"{bar[1] - bar[0]:g} uV"


@pytest.mark.parametrize(("limit", "length"), [(0.043, 0.02), (7.0, 5.0), (1.0, 1.0), (1e-6, 1e-6)])
def test_lengths_are_round(limit, length):
    assert round_length(limit) == pytest.approx(length)
