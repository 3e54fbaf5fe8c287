import numpy as np
import pytest

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.inspection import Recordings
from hcvae.inspection.figure import MOST_PANELS, grand_averages, means_by_level


def test_each_level_has_its_mean(simulated):
    recordings = Recordings.of(simulated)
    levels, signals = simulated["stimulus_level_db"].to_numpy(), signals_of(simulated)
    means = means_by_level(recordings, recordings.finite)
    assert [level for level, _, _ in means] == np.unique(levels).tolist()
    for level, rows, mean in means:
        assert rows == np.sum(levels == level)
        assert np.allclose(mean, signals[levels == level].mean(axis=0), atol=1e-6)


def test_the_figure_has_uv_and_ms_and_a_line_a_level(simulated):
    (axis,) = grand_averages(Recordings.of(simulated)).axes
    assert axis.get_xlabel().endswith("ms")
    assert axis.get_ylabel().startswith("uV")
    assert axis.get_title() == "simulator, human, click"
    levels, signals = simulated["stimulus_level_db"].to_numpy(), signals_of(simulated)
    lines = axis.get_lines()
    assert len(lines) == len(np.unique(levels))
    lowest = signals[levels == levels.min()].mean(axis=0)
    assert np.allclose(lines[0].get_ydata(), lowest, atol=1e-6)
    assert np.allclose(lines[0].get_xdata(), np.arange(200) * 0.05)
    assert lines[-1].get_ydata().min() > lines[0].get_ydata().max()  # the highest level on top
    labels = [text.get_text().strip() for text in axis.texts]
    assert labels[-1] == f"{levels.max():g} dB ({np.sum(levels == levels.max())})"


def test_the_kinds_of_most_rows_have_panels(make_table):
    species = ["a"] * 20 + ["b"] * 10 + ["c"] * 8 + ["d"] * 6 + ["e"] * 4
    recordings = Recordings.of(make_table(species=species, stimulus_level_db=None))
    axes = grand_averages(recordings).axes
    assert len(axes) == MOST_PANELS
    assert [axis.get_title() for axis in axes] == ["a", "b", "c", "d"]
    assert axes[0].texts[0].get_text().strip() == "no level (20)"


def test_rows_without_a_waveform_are_left_out_and_none_at_all_is_told(make_table):
    signals = np.ones((48, 64))
    signals[0] = np.nan
    (axis,) = grand_averages(Recordings.of(make_table(signal=list(signals), stimulus_level_db=None))).axes
    assert np.array_equal(axis.get_lines()[0].get_ydata(), np.ones(64))
    with pytest.raises(UserError, match="no figure without waveforms"):
        grand_averages(Recordings.of(make_table(signal=[[np.nan] * 64] * 48)))
