import io
from dataclasses import replace

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.explore import actions
from hcvae.explore.controls import controls_of
from hcvae.explore.settings import Page


@pytest.fixture
def held(explorer) -> dict:
    """What the browser holds at the start."""
    controls = controls_of(explorer.bundle.preprocessing, "")
    values = [c.choices.index(c.value) if c.choices else c.slider[2] for c in controls]
    return {
        "group": "",
        "values": values,
        "unknown": [[] for _ in controls],
        "shifts": {block: [0] * len(found.change_uv) for block, found in explorer.directions.items()},
        "a": "",
        "b": "",
        "references": [],
        "shown": [],
    }


def test_the_page_is_read_from_its_components(explorer, page, held):
    read = actions.read_page(explorer, held)
    assert read.setting.shifts == page.setting.shifts
    steps = {control.name: control for control in controls_of(explorer.bundle.preprocessing, "")}
    for name, value in page.setting.condition.items():
        near = value if isinstance(value, str) else pytest.approx(value, abs=steps[name].step / 2 + 1e-6)
        assert read.setting.condition[name] == near
    held["values"][0] = 77
    held["shifts"]["global"][1] = -1.5
    read = actions.read_page(explorer, held)
    assert read.setting.condition["stimulus_level_db"] == 77.0
    assert read.setting.shifts["global"][1] == -1.5


def test_references_survive_the_browser(explorer, page, held):
    frozen = actions.add(explorer, actions.freeze(explorer, page), 5)
    held["references"] = [reference.model_dump(mode="json") for reference in frozen.references]
    held |= {"shown": ["row 5"], "b": "frozen 1"}
    read = actions.read_page(explorer, held)
    assert read.references == frozen.references
    assert (read.shown, read.setting.b) == (("row 5",), "frozen 1")


def test_an_emptied_field_is_refused_with_its_range(explorer, held):
    held["values"][0] = None
    with pytest.raises(UserError, match=r"stimulus level \(dB\): must be a number from 10 to 90, but got none"):
        actions.read_page(explorer, held)


def test_references_are_numbered_added_once_and_cleared(explorer, page):
    changed = actions.freeze(explorer, actions.add(explorer, actions.freeze(explorer, page), 2))
    assert [reference.name for reference in changed.references] == ["frozen 1", "row 2", "frozen 2"]
    assert changed.shown == ("frozen 1", "row 2", "frozen 2")
    assert actions.add(explorer, changed, 2) == changed
    used = replace(changed, setting=changed.setting.model_copy(update={"a": "row 2", "b": "frozen 1"}))
    exchanged = actions.exchange(used).setting
    assert (exchanged.a, exchanged.b) == ("frozen 1", "row 2")
    assert actions.clear(used) == Page(page.setting)


@pytest.mark.parametrize("row", [None, -1, 60])
def test_rows_that_are_not_there_are_refused(explorer, page, row):
    with pytest.raises(UserError, match=r"row:? must be 0 to 59, but got"):
        actions.add(explorer, page, row)


def test_files_hold_the_table(explorer, page):
    table = explorer.waveforms(actions.add(explorer, actions.freeze(explorer, page), 7))
    parquet = pq.read_table(io.BytesIO(actions.file_of(table, "parquet")))
    assert parquet.schema.equals(table.schema)
    assert parquet.schema.metadata[b"sampling_rate_hz"] == b"20000"
    assert np.array_equal(signals_of(parquet), signals_of(table))
    lines = pyarrow.csv.read_csv(io.BytesIO(actions.file_of(table, "csv")))
    samples = [name for name in lines.column_names if name.startswith("t_ms=")]
    read = np.stack([lines[name].to_numpy() for name in samples], axis=1).astype(np.float32)
    assert np.array_equal(read, signals_of(table))
    assert lines["name"].to_pylist() == ["current", "frozen 1", "row 7"]
