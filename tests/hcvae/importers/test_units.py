"""Units of voltage: one rule for cells of CSV files and for columns of tables and structs."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hcvae.errors import UserError
from hcvae.importers import comma_separated, tables
from hcvae.importers.recording import ReadOptions


@pytest.fixture(params=["t.csv", "t.parquet"])
def scales(request, tmp_path):
    """A function that writes waveforms of ones with a column `unit`, and returns the microvolts that are read."""

    def scales(units, **mapping):
        columns = {f"t_ms={ms:g}": np.ones(len(units)) for ms in np.arange(0, 10, 0.5)}
        table = pa.table({"unit": pa.array(units, pa.string()), **columns})
        path = tmp_path / request.param
        if path.suffix == ".csv":
            pa.csv.write_csv(table, path)
            form = comma_separated.FORMAT
        else:
            pq.write_table(table, path)
            form = tables.FORMAT
        options = ReadOptions(mapping={"signal": "t_ms=*"} | mapping)
        return [recording.signal_uv[0] for recording in form.read(path, options)]

    return scales


@pytest.mark.parametrize("unit", ["mV", "mv", "MV", " mV "])
def test_a_unit_in_any_spelling(scales, unit):
    assert scales([unit, unit]) == [1e3, 1e3]
    assert scales([None, None], unit=unit) == [1e3, 1e3]


def test_several_spellings_of_one_unit(scales):
    assert scales(["uV", "\N{MICRO SIGN}V", "\N{GREEK SMALL LETTER MU}v"]) == [1, 1, 1]


def test_empty_cells_have_the_unit_of_the_others(scales):
    assert scales(["nV", None]) == [1e-3, 1e-3]
    assert scales([None, None]) == [1, 1]


def test_several_units_and_unknown_ones_are_refused(scales):
    with pytest.raises(UserError, match="unit: got 2 units; must be one of V, mV, uV"):
        scales(["mV", "uV"])
    with pytest.raises(UserError, match="unit: got another unit; must be one of V, mV, uV") as error:
        scales(["volts", "volts"])
    assert "volts" not in str(error.value)
    with pytest.raises(UserError, match=r"t\.\w+: mapping of unit: must be one of V, mV, uV.*but got 'volts'"):
        scales(["mV", "mV"], unit="volts")
