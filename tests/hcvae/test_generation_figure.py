import numpy as np
import pyarrow as pa
import pytest

from hcvae.data.simulator import simulate
from hcvae.figure_parts import NO_BREAK, RECORDED
from hcvae.generation import encode_recording, generate, interpolate, swap, vary
from hcvae.generation_figure import MAX_PANELS, MAX_PLOTTED, generation_figure

LEVEL = "stimulus_level_db"


def lines_of(axis, color=None):
    lines = [line for line in axis.get_lines() if line.get_linestyle() != "None"]
    return [line.get_ydata() for line in lines if color is None or line.get_color() == color]


@pytest.fixture(scope="module")
def two(trained_bundle):
    table = simulate(60, 0)
    return table, [encode_recording(trained_bundle, table.slice(row, 1)) for row in (3, 41)]


def test_every_condition_has_a_panel_and_shared_values_are_in_the_title(trained_bundle):
    conditions = [{LEVEL: level, "sex": "F"} for level in np.arange(20.0, 76.0, 4)]
    table = generate(trained_bundle, conditions, 2)
    figure, notes = generation_figure(trained_bundle, table, [LEVEL, "sex"], {}, "Generated")
    titles = [axis.get_title().replace(NO_BREAK, " ") for axis in figure.axes]
    assert titles == [f"{level} dB" for level in range(20, 76, 4)]
    assert len(titles) == 14
    assert figure.get_suptitle().replace(NO_BREAK, " ") == "Generated\nsex F"
    assert notes == []
    signals = np.stack(table["signal"].to_numpy())
    assert np.array_equal([line for axis in figure.axes for line in lines_of(axis)], signals)


def test_notes_list_what_is_not_plotted(trained_bundle):
    levels = [float(level) for level in range(20, 20 + MAX_PANELS + 2)]
    table = generate(trained_bundle, [{LEVEL: level} for level in levels], MAX_PLOTTED + 5)
    figure, (conditions, waveforms) = generation_figure(trained_bundle, table, [LEVEL], {}, "Generated")
    drawn = {axis.get_title().replace(NO_BREAK, " ") for axis in figure.axes}
    count, _, named = conditions.partition(": ")
    assert count == f"2 of {MAX_PANELS + 2} conditions not plotted"
    assert {*named.split("; ")} == {f"{level:g} dB" for level in levels} - drawn
    assert waveforms == f"{MAX_PLOTTED} of {MAX_PLOTTED + 5} waveforms of each condition plotted"
    assert count in figure.get_suptitle()
    assert waveforms in figure.get_suptitle()


def test_recordings_are_plotted_with_the_waveforms_generated_from_them(trained_bundle, two):
    table, (first, second) = two
    signals = np.stack(table["signal"].to_numpy())
    recorded = {"recording, row 3": first, "second recording, row 41": second}
    for made in (
        vary(trained_bundle, first, "global", 3),
        interpolate(trained_bundle, first, second, 5),
        pa.concat_tables([swap(trained_bundle, first, second)]),
    ):
        figure, notes = generation_figure(trained_bundle, made, [], recorded, "Like a recording")
        (axis,) = figure.axes
        assert np.array_equal(lines_of(axis, RECORDED), signals[[3, 41]])
        assert len(lines_of(axis)) == 2 + made.num_rows
        assert notes == []
    assert axis.get_figure().get_suptitle().startswith("Like a recording\n")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == list(recorded)


def test_a_long_interpolation_is_plotted_from_end_to_end(trained_bundle, two):
    _, (first, second) = two
    made = interpolate(trained_bundle, first, second, 100)
    figure, notes = generation_figure(trained_bundle, made, [], {}, "From one to another")
    signals = np.stack(made["signal"].to_numpy())
    drawn = lines_of(figure.axes[0])
    assert len(drawn) == MAX_PLOTTED
    assert np.array_equal([drawn[0], drawn[-1]], signals[[0, -1]])
    assert notes == [f"{MAX_PLOTTED} of 100 waveforms of each condition plotted"]
