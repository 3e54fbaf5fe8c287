"""Plausible ranges: what is physically possible in a column, in tables that training reads."""

import numpy as np
import pyarrow as pa
import pytest

from hcvae.config import DataConfig
from hcvae.data.plausible_ranges import PLAUSIBLE_RANGES, implausible_rows
from hcvae.data.table import check_table
from hcvae.errors import UserError
from hcvae.importers.columns import INTEGERS, SCALARS, is_text_column

PUBLISHED = {
    "stimulus_frequency_hz": (125, 150_000),  # the audiogram's lowest, and the highest of bottlenose dolphins
    "stimulus_level_db": (-20, 140),
    "threshold_db": (-20, 120),
    "age_days": (0, 44_724),  # Jeanne Calment
    "stimulus_rate_hz": (1, 500),
    "n_averages": (1, 100_000),
    "n_artifacts": (0, 100_000),
    "recording_index": (0, 10_000),
    "half": (0, 2),
    "residual_noise_uv": (0, 100),
    "highpass_hz": (0, 300),
    "lowpass_hz": (1_500, 30_000),
    "native_rate_hz": (5_000, 200_000),
}
"""Values in use, by column: none of them may be refused."""
IMPOSSIBLE = [
    ("n_averages", -3), ("n_averages", 0), ("residual_noise_uv", -4), ("half", 9), ("recording_index", -4),
    ("n_artifacts", -3), ("stimulus_rate_hz", -5), ("threshold_db", 1e30), ("lowpass_hz", -1), ("native_rate_hz", 5),
    ("stimulus_level_db", 9999), ("age_days", -3), ("age_days", 1e9), ("stimulus_frequency_hz", -8000),
    ("stimulus_frequency_hz", 8), ("stimulus_frequency_hz", 64), ("stimulus_frequency_hz", 1e7),
    ("stimulus_level_db", 6000), ("highpass_hz", 1e5), ("age_years", 340), ("stimulus_level_db", -999),
]  # fmt: skip


def test_every_number_of_the_schema_has_a_range():
    assert {name for name in SCALARS if not is_text_column(name)} == PUBLISHED.keys() <= PLAUSIBLE_RANGES.keys()
    assert set(INTEGERS) <= PLAUSIBLE_RANGES.keys()


@pytest.mark.parametrize(("name", "values"), PUBLISHED.items())
def test_values_in_use_are_plausible(name, values):
    assert list(implausible_rows({name: pa.chunked_array([[*map(float, values), None]])})) == []


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_impossible_values_are_found_and_refused_in_a_condition(name, value):
    usual = PUBLISHED.get(name, (20,))[0]
    table = pa.table({"subject_id": list("abc"), "recording_index": [1, 2, 3], "stimulus_level_db": [20.0] * 3})
    table = table.drop_columns([name] if name in table.column_names else [])
    table = table.append_column(name, pa.array([usual, value, None], pa.float64()))
    [(found, rows, _)] = implausible_rows({name: table[name]})
    assert (found, rows.tolist()) == (name, [False, True, False])
    config = DataConfig(tables=("t.parquet",), static=(name,), sampling_rate_hz=2e4)
    with pytest.raises(UserError, match=rf"t: column '{name}': 1 of 3 rows must be .*; the rows are 1"):
        check_table(table, config, 200, "t", waveforms=False)


def test_a_reversed_band_is_found():
    edges = {"highpass_hz": [100.0, 3000.0, 100.0, np.nan], "lowpass_hz": [3000.0, 300.0, 100.0, 300.0]}
    [(name, rows, expected)] = implausible_rows({name: pa.chunked_array([edge]) for name, edge in edges.items()})
    assert (name, rows.tolist(), expected) == ("highpass_hz", [False, True, True, False], "below lowpass_hz")


def test_logical_values_are_no_numbers():
    table = pa.table({"subject_id": list("ab"), "recording_index": [1, 2], "stimulus_level_db": [True, False]})
    config = DataConfig(tables=("t.parquet",), static=("stimulus_level_db",), sampling_rate_hz=2e4)
    with pytest.raises(UserError, match="column 'stimulus_level_db': must hold numbers, but got logical values"):
        check_table(table, config, 200, "t", waveforms=False)
