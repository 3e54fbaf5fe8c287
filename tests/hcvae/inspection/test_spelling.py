import pyarrow as pa
import pytest

from hcvae.data.simulator import simulate
from hcvae.inspection import spelling
from hcvae.inspection.recordings import Recordings


@pytest.mark.parametrize(
    ("column", "name", "meant"),
    [
        ("species", "humon", "human"),
        ("species", "mose", "mouse"),
        ("species", "Mouse", "mouse"),
        ("stimulus_type", "clik", "click"),
        ("stimulus_type", "tone pip", "tone_pip"),
        ("species", "bat", None),
        ("species", "rat", None),
        ("species", "zebra finch", None),
        ("stimulus_type", "tone", None),
        ("stimulus_type", "speech", None),
    ],
)
def test_names_that_are_almost_known_ones_are_reported(column, name, meant):
    table = simulate(12, 1)
    if column in table.column_names:
        table = table.drop_columns(column)
    found = spelling.check(Recordings.of(table.append_column(column, pa.array([name] * 12)), "a.parquet"))
    if meant is None:
        assert found == []
    else:
        [finding] = found
        assert finding.trouble == f"{column} may be misspelt"
        assert finding.evidence == f"{name!r} in 12 rows; did you mean {meant!r}?"
        assert f"--value {column}={meant}" in finding.remedy
