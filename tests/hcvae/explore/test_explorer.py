from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.explore.explorer import CURRENT, Explorer
from hcvae.explore.settings import Page
from hcvae.generation import generate, read_recording, swap


def changed(page: Page, **setting: object) -> Page:
    return replace(page, setting=page.setting.model_copy(update=setting))


def at_level(page: Page, level_db: float) -> Page:
    return changed(page, condition=page.setting.condition | {"stimulus_level_db": level_db})


def test_the_current_waveform_is_the_typical_one_of_its_condition(explorer, page):
    table = explorer.waveforms(at_level(page, 40.0))
    drawn = generate(explorer.bundle, [page.setting.condition | {"stimulus_level_db": 40.0}], 1, temperature=0)
    assert table["name"].to_pylist() == [CURRENT]
    assert signals_of(table) == pytest.approx(signals_of(drawn), abs=1e-6)
    for name in page.setting.condition:
        assert table[name] == drawn[name]
    for name in ("peak_latency_ms", "peak_amplitude_uv"):
        assert table[name][0].as_py() == pytest.approx(drawn[name][0].as_py(), abs=1e-4, nan_ok=True)
    assert table["peak_valid"] == drawn["peak_valid"]
    assert table.schema.metadata == drawn.schema.metadata


def test_shifts_move_along_the_directions(explorer, page):
    still = explorer.freeze(page)
    moved = explorer.freeze(changed(page, shifts=page.setting.shifts | {"local": (0.0, -2.0, 0.0, 0.5)}))
    vectors = explorer.directions("")["local"].numpy()
    difference = np.subtract(moved.latents["local"], still.latents["local"])
    assert difference == pytest.approx(-2 * vectors[1] + 0.5 * vectors[3], abs=1e-5)
    assert moved.latents["global"] == still.latents["global"]


def test_recordings_are_shown_as_recorded(explorer, page, recordings_table):
    recorded = pq.read_table(recordings_table).slice(7, 1)
    reference = explorer.recording(7)
    table = explorer.waveforms(replace(page, references=(reference,), shown=("row 7",)))
    assert table["name"].to_pylist() == [CURRENT, "row 7"]
    assert np.array_equal(signals_of(table)[1], signals_of(recorded)[0])
    for name in ("peak_latency_ms", "peak_amplitude_uv", "peak_valid"):
        assert np.array_equal(table[name][1].as_py(), recorded[name][0].as_py(), equal_nan=name != "peak_valid")
    assert table["stimulus_level_db"][1].as_py() == recorded["stimulus_level_db"][0].as_py()
    assert "subject_id " + recorded["subject_id"][0].as_py() in explorer.describe(7)


def test_only_what_is_shown_is_in_the_table(explorer, page):
    references = (explorer.recording(3), explorer.freeze(page, "frozen 1"))
    table = explorer.waveforms(replace(page, references=references, shown=("frozen 1",)))
    assert table["name"].to_pylist() == [CURRENT, "frozen 1"]


def test_a_frozen_setting_stays_while_the_sliders_move(explorer, page):
    before = signals_of(explorer.waveforms(at_level(page, 30.0)))[0]
    frozen = explorer.freeze(at_level(page, 30.0), "frozen 1")
    table = explorer.waveforms(replace(at_level(page, 80.0), references=(frozen,), shown=("frozen 1",)))
    assert signals_of(table)[1] == pytest.approx(before, abs=1e-6)
    assert table["stimulus_level_db"].to_pylist() == [80.0, 30.0]


def test_swap_is_the_global_latent_of_a_with_the_local_latent_of_b(explorer, page, recordings_table):
    references = (explorer.recording(0), explorer.recording(40))
    swapped = changed(replace(page, references=references), a="row 0", b="row 40")
    recordings = [read_recording(explorer.bundle, recordings_table, row) for row in (0, 40)]
    expected = swap(explorer.bundle, *recordings, condition=page.setting.condition)
    assert signals_of(explorer.waveforms(swapped)) == pytest.approx(signals_of(expected), abs=1e-6)


def test_conditions_beyond_the_training_range_are_refused(explorer, page):
    with pytest.raises(UserError, match=r"stimulus_level_db.*trained on"):
        explorer.waveforms(at_level(page, 200.0))


def test_the_vertical_axis_covers_the_recordings_scale(explorer, page):
    scale = explorer.bundle.preprocessing.signal.groups[""]
    low, high = explorer.span_uv(page)
    assert (low + high) / 2 == pytest.approx(scale.mean_uv)
    assert high - low == pytest.approx(5 * scale.std_uv)


def test_a_model_without_peaks_is_explored_too(linear, recordings_table, page):
    explorer = Explorer(linear, recordings_table)
    shifts = {block: (0.0,) * count for block, count in explorer.direction_counts.items()}
    table = explorer.waveforms(
        replace(changed(page, shifts=shifts), references=(explorer.recording(7),), shown=("row 7",))
    )
    assert table["peak_valid"].to_pylist()[0] == [False] * 5
    assert table["peak_valid"].to_pylist()[1] == pq.read_table(recordings_table)["peak_valid"][7].as_py()


@pytest.mark.parametrize("path", ["missing.parquet", "README.md"])
def test_tables_that_cannot_be_read_are_refused(trained_bundle, path):
    with pytest.raises(UserError, match=path):
        Explorer(trained_bundle, path)
