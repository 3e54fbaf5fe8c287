"""Tables that stay on the disk: the same statistics, parts and rows as from memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.streaming import Span, Stream, exceeds_budget, prepare_stream, read_span
from hcvae.errors import UserError

ROWS = 1500


@pytest.fixture(scope="module")
def simulated() -> pa.Table:
    return simulate(ROWS, 0)


@pytest.fixture
def config(simulated: pa.Table, tmp_path: Path) -> Config:
    """Of two files with row groups of 100 rows."""
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    for path, part in zip(paths, (simulated.slice(0, 950), simulated.slice(950)), strict=True):
        pq.write_table(part, path, row_group_size=100)
    return Config.model_validate({"data": {"tables": paths, "memory_budget_gb": 0.001}})


def stream_of(config: Config) -> Stream:
    stream = prepare_stream(config).stream
    assert isinstance(stream, Stream)
    return stream


def test_statistics_and_parts_are_the_same_as_in_memory(config: Config) -> None:
    streamed, whole = prepare_stream(config), prepare(config)
    assert np.array_equal(streamed.split.train, whole.split.train)
    assert streamed.preprocessing.static == whole.preprocessing.static
    assert streamed.preprocessing.typical == whole.preprocessing.typical
    assert streamed.preprocessing.labelled_waves == whole.preprocessing.labelled_waves
    for name in ("train", "validation", "test"):  # the sample has all of so few training rows
        for field, array in vars(getattr(whole, name)).items():
            np.testing.assert_allclose(getattr(getattr(streamed, name), field), array, atol=1e-6)
    assert (streamed.n_train, len(streamed.train)) == (len(whole.train), len(whole.train))


@pytest.mark.parametrize("group_by", [None, "sex"])
def test_the_scale_is_that_of_all_training_rows(config: Config, simulated: pa.Table, group_by: str | None) -> None:
    config = config.model_copy(update={"normalization": config.normalization.model_copy(update={"group_by": group_by})})
    data = prepare_stream(config)
    train = simulated.take(data.split.train)
    assert set(data.preprocessing.signal.groups) == ({"F", "M"} if group_by else {""})
    for name, scale in data.preprocessing.signal.groups.items():
        rows = train.filter(pa.compute.equal(train["sex"], name)) if name else train
        values = np.stack(rows["signal"].to_numpy()).astype(np.float64)
        assert scale.mean_uv == pytest.approx(values.mean(), rel=1e-9)
        assert scale.std_uv == pytest.approx(values.std(), rel=1e-9)


def test_blocks_are_the_training_rows_from_any_start(config: Config) -> None:
    stream, whole = stream_of(config), prepare(config).train
    n = len(stream.groups)
    assert n == 10 + 6
    in_order = [block["signals"] for block in stream.blocks(range(n), 0, len(stream))]
    np.testing.assert_allclose(np.concatenate(in_order), whole.signals, atol=1e-6)
    backwards = list(stream.blocks(range(n)[::-1], 0, len(stream)))
    some = np.concatenate([block["static"] for block in stream.blocks(range(n)[::-1], 130, 333)])
    assert np.array_equal(some, np.concatenate([block["static"] for block in backwards])[130:463])
    assert sum(len(block["static"]) for block in backwards) == len(whole)


def test_another_average_is_taken_from_the_block(config: Config) -> None:
    stream, whole = stream_of(config), prepare(config).train
    blocks = list(stream.blocks(range(len(stream.groups)), 0, len(stream)))
    response = np.concatenate([block["response"] for block in blocks])
    # Both averages of a recording lie side by side, and groups have an even number of rows.
    np.testing.assert_allclose(response, whole.signals[whole.independent], atol=1e-6)
    [block] = read_span(stream, Span(stream.groups[0], 3, 1))
    np.testing.assert_allclose(block["response"], whole.signals[whole.independent[3:4]], atol=1e-6)


def test_the_budget_applies_to_the_waveforms(config: Config) -> None:
    def within(gb: float | None) -> Config:
        return config.model_copy(update={"data": config.data.model_copy(update={"memory_budget_gb": gb})})

    assert not exceeds_budget(within(None))
    assert not exceeds_budget(within(ROWS * 800 / 1e9))
    assert exceeds_budget(within(ROWS * 799 / 1e9))
    with pytest.raises(UserError, match=r"data\.split: the validation and test parts must fit .* but need 0\.00036 GB"):
        prepare_stream(within(0.0003))


def test_a_changed_row_changes_the_fingerprint(config: Config, simulated: pa.Table) -> None:
    before = prepare_stream(config).fingerprint
    assert prepare_stream(config).fingerprint == before
    signals = np.stack(simulated["signal"].to_numpy()).copy()
    signals[1400, 7] += 1e-3
    changed = simulated.set_column(
        simulated.schema.get_field_index("signal"), "signal", pa.FixedSizeListArray.from_arrays(signals.ravel(), 200)
    )
    pq.write_table(changed.slice(950), config.data.tables[1], row_group_size=100)
    assert prepare_stream(config).fingerprint != before


def test_an_error_in_a_file_is_reported_with_its_row(config: Config, simulated: pa.Table) -> None:
    signals = np.stack(simulated["signal"].to_numpy()).copy()
    signals[1262, 7] = np.nan
    changed = simulated.set_column(
        simulated.schema.get_field_index("signal"), "signal", pa.FixedSizeListArray.from_arrays(signals.ravel(), 200)
    )
    pq.write_table(changed.slice(950), config.data.tables[1], row_group_size=100)
    message = r"b\.parquet, from row 1250 on: column 'signal': 1 of 100 rows contain NaN .* the rows are 12 \(from 0\)"
    with pytest.raises(UserError, match=message):
        prepare_stream(config)
