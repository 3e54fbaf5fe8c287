import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.inspection import Recordings
from hcvae.inspection.figure import MAX_LEVELS, MAX_PANELS, grand_averages, means_by_level, not_plotted
from tests.fixtures.contrast import contrast


def titles(figure):
    """The titles of the panels, without their last line, the number of subjects."""
    return [axis.get_title().rpartition("\n")[0] for axis in figure.axes]


def labels(axis):
    """Of the waveforms, from the top."""
    named = zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
    return [label.get_text() for _, label in sorted(named, key=lambda one: -one[0])]


def test_each_level_has_its_mean(simulated):
    recordings = Recordings.of(simulated)
    levels, signals = simulated["stimulus_level_db"].to_numpy(), signals_of(simulated)
    means = means_by_level(recordings, recordings.finite)
    assert [level for level, _, _ in means] == np.unique(levels).tolist()
    for level, rows, mean in means:
        assert rows == np.sum(levels == level)
        assert np.allclose(mean, signals[levels == level].mean(axis=0), atol=1e-6)


def test_the_figure_has_a_scale_bar_and_a_line_per_level_the_highest_on_top(simulated):
    (axis,) = grand_averages(Recordings.of(simulated)).axes
    assert axis.get_xlabel() == "ms after stimulus onset"
    assert axis.get_title() == f"simulator, human\nclick\n{len(simulated['subject_id'].unique())} subjects"
    levels, signals = simulated["stimulus_level_db"].to_numpy(), signals_of(simulated)
    *lines, bar = axis.get_lines()
    assert len(lines) == len(np.unique(levels))
    highest = signals[levels == levels.max()].mean(axis=0)
    assert np.allclose(lines[0].get_ydata(), highest - highest.mean(), atol=1e-6)
    assert np.allclose(lines[0].get_xdata(), np.arange(200) * 0.05)
    assert labels(axis)[0] == f"{levels.max():g} dB ({np.sum(levels == levels.max())})"
    assert labels(axis)[-1] == f"{levels.min():g} dB ({np.sum(levels == levels.min())})"
    assert [text.get_text() for text in axis.texts] == [f"{np.ptp(bar.get_ydata()):g} uV"]
    assert all(contrast(line.get_color()) >= 3 for line in lines)


def test_stimuli_without_a_panel_are_listed(make_table):
    species = [f"species {number // 3:02}" for number in range(48)]
    recordings = Recordings.of(make_table(species=species, stimulus_level_db=None))
    figure = grand_averages(recordings)
    assert len(figure.axes) == MAX_PANELS == 12
    assert titles(figure)[0] == "species 00\nno stimulus type"
    (note,) = not_plotted(recordings)
    assert note.startswith("4 of 16 stimuli not plotted: species 12, no stimulus type (3 rows); ")
    assert "species 15" in note
    assert "4 of 16 stimuli not plotted" in figure.get_suptitle()
    assert labels(figure.axes[0]) == ["no level (3)"]


def test_rows_without_a_stimulus_type_are_not_called_all_rows(make_table):
    kinds = ["click"] * 20 + [None] * 28
    assert titles(grand_averages(Recordings.of(make_table(stimulus_type=kinds)))) == ["no stimulus type", "click"]
    assert titles(grand_averages(Recordings.of(make_table()))) == ["all rows"]


def test_every_dataset_and_frequency_of_real_recordings_has_its_panel_and_scale(recordings):
    """Five frequencies, and a gain 20 times smaller than that of the other mice."""
    names = ("human_click_shipm", "mouse_tone_shipm", "mouse_tone_stankovic")
    table = pa.concat_tables([pq.read_table(recordings / f"{name}.parquet") for name in names], promote_options="none")
    figure = grand_averages(Recordings.of(table))
    assert titles(figure) == [
        "shipm_human, human\nclick",
        "shipm_mouse, mouse\ntone_pip 16 kHz",
        *(f"stankovic_mouse, mouse\ntone_pip {khz} kHz" for khz in ("8", "11.31", "16", "22.63", "32")),
    ]
    bars = [float(axis.texts[0].get_text().removesuffix(" uV")) for axis in figure.axes]
    assert min(bars[:2]) >= 0.1
    assert max(bars[2:]) <= 0.05
    unnamed = table.drop_columns(["dataset", "species", "stimulus_type", "stimulus_frequency_hz"])
    pooled = titles(grand_averages(Recordings.of(unnamed)))
    sizes = [re.fullmatch(r"all rows\npeak to peak about (\S+) uV", title)[1] for title in pooled]
    stankovic, humans, mouse = map(float, sizes)
    assert stankovic < 0.1 < humans < 1 < mouse


def test_omitted_levels_are_listed(make_table):
    table = make_table(stimulus_level_db=np.arange(48) / 7)
    (axis,) = grand_averages(Recordings.of(table)).axes
    assert len(labels(axis)) == MAX_LEVELS == 40
    (note,) = not_plotted(Recordings.of(table))
    assert note.startswith("8 of 48 levels not plotted")


def test_time_and_unit_are_those_of_the_table(make_table):
    table = make_table()
    record = {"options": {"steps": {"grid": {"start_ms": -2.0}}}}
    field = table.schema.field("signal").with_metadata({"unit": "mV"})
    schema = table.schema.set(table.schema.get_field_index("signal"), field)
    metadata = {**table.schema.metadata, b"hcvae_import": json.dumps(record).encode()}
    (axis,) = grand_averages(Recordings.of(table.cast(schema).replace_schema_metadata(metadata))).axes
    assert axis.get_lines()[0].get_xdata()[[0, 40]] == pytest.approx([-2, 0])
    assert axis.texts[0].get_text().endswith(" mV")
    broken = Recordings.of(table.replace_schema_metadata({**metadata, b"hcvae_import": b"[1]"}))
    with pytest.raises(UserError, match="hcvae_import in the metadata is not from an import"):
        grand_averages(broken)


def test_rows_without_a_waveform_are_left_out_and_reported(make_table):
    signals = np.tile(np.sin(np.arange(64)), (48, 1))
    signals[0] = np.nan
    recordings = Recordings.of(make_table(signal=list(signals), stimulus_level_db=None))
    (axis,) = grand_averages(recordings).axes
    assert np.allclose(axis.get_lines()[0].get_ydata(), signals[1] - signals[1].mean(), atol=1e-6)
    assert not_plotted(recordings) == ["1 of 48 rows not plotted: they have no waveform, or NaN"]
    with pytest.raises(UserError, match="nothing to plot"):
        grand_averages(Recordings.of(make_table(signal=[[np.nan] * 64] * 48)))


def test_frequencies_that_are_texts_have_panels_too(make_table):
    frequencies = ["8k"] * 24 + ["16k"] * 24
    figure = grand_averages(Recordings.of(make_table(stimulus_frequency_hz=frequencies)))
    assert titles(figure) == ["stimulus_frequency_hz 16k", "stimulus_frequency_hz 8k"]
