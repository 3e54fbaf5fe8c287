import numpy as np
import pytest
from scipy.io import loadmat

from hcvae.data.export import matlab, write_table
from hcvae.data.simulator import simulate
from hcvae.errors import UserError


@pytest.fixture
def fields(table, tmp_path) -> dict[str, np.ndarray]:
    """The fields of the struct in a written file, as scipy reads them."""
    write_table(table, tmp_path / "a.mat")
    content = loadmat(tmp_path / "a.mat")
    assert [name for name in content if not name.startswith("__")] == ["abr"]
    abr = content["abr"]
    assert abr.shape == (1, 1)
    return {name: abr[name][0, 0] for name in abr.dtype.names}


def test_the_struct_has_waveforms_and_their_times(fields, signals):
    assert np.array_equal(fields["signal"], signals)
    assert np.allclose(fields["time_ms"].ravel(), np.arange(64) / 25)
    assert fields["sampling_rate_hz"].item() == 25000


def test_numbers_are_columns_of_doubles_with_nan_for_null(fields):
    level = fields["stimulus_level_db"]
    assert level.shape == (7, 1)
    assert level.dtype == np.float64
    assert np.array_equal(level[:, 0], [60, 50, np.nan, 30, 20, 10, 0], equal_nan=True)


def test_texts_are_cells_that_are_empty_for_null(fields):
    assert [text[0] if text.size else "" for text in fields["sex"][:, 0]] == ["F", "", "M", "F", "", "M", "F"]
    assert fields["subject_id"][4, 0][0] == 'a "quoted", name'


def test_peaks_are_a_matrix_and_a_mask(fields, table):
    latency = np.array(table["peak_latency_ms"].to_pylist())
    assert np.array_equal(fields["peak_latency_ms"], latency, equal_nan=True)
    assert np.array_equal(fields["peak_valid"], np.isfinite(latency))


def test_every_column_of_the_simulator_fits(tmp_path):
    simulated = simulate(6, 0)
    write_table(simulated, tmp_path / "a.mat")
    abr = loadmat(tmp_path / "a.mat", simplify_cells=True)["abr"]
    assert set(simulated.column_names) | {"time_ms", "sampling_rate_hz"} == set(abr)
    assert np.array_equal(abr["factor_gain"], simulated["factor_gain"].to_numpy())


@pytest.mark.parametrize("name", ["c" * 64, "rate (Hz)", "2nd", "_hidden", "time_ms", "größe"])
def test_a_column_that_cannot_be_a_field_is_refused_by_name(table, tmp_path, add, name):
    with pytest.raises(UserError, match="a MATLAB field name has up to 63 letters"):
        write_table(add(table, name, range(7)), tmp_path / "a.mat")
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_63_characters_is_kept(table, tmp_path, add):
    write_table(add(table, "c" * 63, range(7)), tmp_path / "a.mat")
    abr = loadmat(tmp_path / "a.mat", simplify_cells=True)["abr"]
    assert list(abr["c" * 63]) == list(range(7))


def test_a_table_too_large_for_the_format_is_refused(table, tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "MAX_BYTES", 7 * 64 * 4)  # the waveforms alone, without the columns
    with pytest.raises(UserError, match="MATLAB v5 file is limited to 2 GiB"):
        write_table(table, tmp_path / "a.mat")
