from dataclasses import replace

import numpy as np
import pytest

from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of, write_table
from hcvae.errors import UserError
from hcvae.evaluation import own_rows, rows_of_tables


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_waveforms_and_columns_are_those_of_the_part(trained_bundle, part):
    rows = own_rows(trained_bundle, part)
    table = simulate(1500, 0).take(getattr(prepare(trained_bundle.config).split, part))
    np.testing.assert_allclose(rows.recorded.signals_uv, signals_of(table), atol=1e-6)
    assert rows.recorded.numbers("stimulus_level_db").tolist() == table["stimulus_level_db"].to_pylist()
    assert rows.recorded.texts("sex").tolist() == table["sex"].to_pylist()
    assert rows.recorded.texts("no such column") is None
    assert rows.is_training_part == (part == "train")


def test_tables_are_read_in_the_bundle_s_numbers(trained_bundle, tmp_path):
    table = simulate(60, 9)
    write_table(table, tmp_path / "other.parquet")
    rows = rows_of_tables(trained_bundle, [str(tmp_path / "other.parquet")])
    scale = trained_bundle.preprocessing.signal.groups[""]
    np.testing.assert_allclose(rows.part.signals, (signals_of(table) - scale.mean_uv) / scale.std_uv, atol=1e-5)
    level = next(c for c in trained_bundle.preprocessing.static.columns if c.name == "stimulus_level_db")
    position = trained_bundle.preprocessing.static.names.index("stimulus_level_db")
    expected = (table["stimulus_level_db"].to_numpy() - level.mean) / level.std
    np.testing.assert_allclose(rows.part.static[:, position], expected, atol=1e-5)
    assert rows.part.independent.tolist() == [row ^ 1 for row in range(60)]  # the two halves of a recording
    assert rows.train is None


def test_one_row_of_each_recording_is_taken(trained_bundle, test_rows):
    data = trained_bundle.config.data
    taken = test_rows.recorded.take(test_rows.recorded.one_per_recording(data, 10**6, 0))
    names = list(zip(*(taken.texts(name) for name in data.recording_columns), strict=True))
    assert len(set(names)) == len(names) == len(test_rows.recorded) // 2
    assert len(test_rows.recorded.one_per_recording(data, 5, 0)) == 5


def test_data_that_changed_since_the_training_are_refused(trained_bundle):
    config = trained_bundle.config
    other = config.data.model_copy(update={"simulator": config.data.simulator.model_copy(update={"seed": 1})})
    changed = replace(trained_bundle, config=config.model_copy(update={"data": other}))
    with pytest.raises(UserError, match="have changed since it was trained"):
        own_rows(changed, "test")


def test_data_that_are_gone_are_named_with_the_way_out(trained_bundle):
    data = trained_bundle.config.data.model_copy(update={"tables": ("gone.parquet",)})
    moved = replace(trained_bundle, config=trained_bundle.config.model_copy(update={"data": data}))
    with pytest.raises(UserError, match=r"'gone\.parquet'.*name tables with --data"):
        own_rows(moved, "test")


def test_another_sampling_rate_is_refused(trained_bundle, tmp_path):
    table = simulate(20, 9).replace_schema_metadata({"sampling_rate_hz": "10000"})
    write_table(table, tmp_path / "slow.parquet")
    with pytest.raises(UserError, match="the model's waveforms have 20000 Hz, but got 10000 Hz"):
        rows_of_tables(trained_bundle, [str(tmp_path / "slow.parquet")])
