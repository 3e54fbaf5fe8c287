"""Waveform tables larger than memory: statistics from one pass over the files, training rows block by block.

Scalar columns (for the fit), the validation and test parts and a sample of the training part are held in memory.

Shapes: N rows of all tables, T samples.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.config import Config
from hcvae.data.dataset import (
    Dataset,
    Part,
    Rows,
    check_held_out,
    fingerprint,
    fit_preprocessing,
    peaks_of,
    response_codes,
)
from hcvae.data.labelled_peaks import PeakRange
from hcvae.data.normalization import SignalNormalization, group_names, moments
from hcvae.data.preprocessing import Preprocessing, last_sample_ms
from hcvae.data.split import Split, split_rows
from hcvae.data.table import (
    check_table,
    columns_to_read,
    licence_of,
    open_parquet,
    read_tables,
    sampling_rate_of,
    signals_of,
)
from hcvae.errors import UserError

BLOCK_ROWS = 8192
"""Rows per block."""
SAMPLE_ROWS = 32_768
"""Rows of the training part that are held in memory."""
READ_AHEAD_BYTES = 2**22
"""Read buffer of each column; without it, the column of a whole row group would be read at once."""
BLOCKS_IN_TRANSIT = 16
"""Upper bound of the blocks that are read ahead, for the estimate of memory."""

Block = dict[str, NDArray[np.generic]]
"""Training rows: arrays by name, as `hcvae.training.tensors.PartTensors.of_block` takes them."""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file, the unit that is shuffled and distributed."""

    path: str
    """Absolute path, because other processes read it."""
    index: int
    """Index in the file."""
    first: int
    """Index of its first row among all N rows."""
    n_rows: int


@dataclass(frozen=True)
class Span:
    """Consecutive training rows of a row group."""

    group: RowGroup
    skip: int
    """Number of training rows of the group before them."""
    count: int


@dataclass(frozen=True)
class Stream:
    """Training rows of tables that stay on disk."""

    config: Config
    preprocessing: Preprocessing
    groups: tuple[RowGroup, ...]
    in_training: NDArray[np.bool_]
    """Which of the rows [N] are training rows."""
    reader: Callable[["Stream", Sequence[Span]], Iterator[Block]]
    """Reads spans in order: `read_spans` in this process, or another function that distributes the work."""

    def __len__(self) -> int:
        return int(self.group_rows.sum())

    @property
    def nbytes(self) -> int:
        """Memory of the blocks in transit in bytes: mostly two waveforms per row."""
        return BLOCKS_IN_TRANSIT * BLOCK_ROWS * 8 * self.preprocessing.signal_length

    @property
    def n_groups(self) -> int:
        """Number of row groups."""
        return len(self.groups)

    @cached_property
    def group_rows(self) -> NDArray[np.int64]:
        """Number of training rows of each row group."""
        firsts = [group.first for group in self.groups]
        return np.add.reduceat(self.in_training, firsts, dtype=np.int64)

    def blocks(self, groups: Sequence[int], first: int, count: int) -> Iterator[Block]:
        """Yield `count` training rows from number `first` on, with the row groups in the order `groups`.

        Raises:
            UserError: a file has changed, so that it cannot be read or has fewer rows.
        """
        spans: list[Span] = []
        start = 0
        for group in groups:
            end = start + int(self.group_rows[group])
            first_here = max(start, first)
            end_here = min(end, first + count)
            if first_here < end_here:
                spans.append(Span(self.groups[group], first_here - start, end_here - first_here))
            start = end
        return self.reader(self, spans)


def read_spans(stream: Stream, spans: Sequence[Span]) -> Iterator[Block]:
    """Read the blocks of the spans in this process."""
    for span in spans:
        yield from read_span(stream, span)


def read_span(stream: Stream, span: Span) -> Iterator[Block]:
    """Yield the rows of a span in blocks, normalised and encoded.

    The other average of a response is taken from the same block; a waveform without one is its own.
    """
    passed = -span.skip  # training rows read so far, relative to the first row of the span
    for first, table in _tables(stream.config, span.group):
        in_training = np.flatnonzero(stream.in_training[first : first + table.num_rows])
        start = max(-passed, 0)
        end = max(span.count - passed, 0)
        passed += len(in_training)
        if len(in_training[start:end]):
            block = _block(stream, table, in_training)
            yield {name: array[start:end] for name, array in block.items()}
        if passed >= span.count:
            return


def _block(stream: Stream, table: pa.Table, rows: NDArray[np.int64]) -> Block:
    preprocessing = stream.preprocessing
    scaling = preprocessing.signal
    signals = signals_of(table)
    all_rows = Rows.of(
        table.drop_columns("signal"), signals, preprocessing.sampling_rate_hz, scaling, stream.config.data
    )
    part = all_rows.part(rows, scaling, preprocessing.static)
    return {
        "signals": part.signals,
        "static": part.static,
        "peaks": part.peaks,
        "peak_mask": part.peak_mask,
        "response": part.signals[part.other],
    }


def exceeds_budget(config: Config) -> bool:
    """Whether the waveforms of the tables take more memory than `data.memory_budget_gb`.

    Raises:
        UserError: a file is missing, or not a Parquet file.
    """
    budget = config.data.memory_budget_gb
    if budget is None or not config.data.tables:
        return False
    n_rows = sum(group.n_rows for group in row_groups(config.data.tables))
    return 4 * n_rows * config.model.signal_length > budget * 1e9


def prepare_stream(config: Config, reader: Callable[[Stream, Sequence[Span]], Iterator[Block]] = read_spans) -> Dataset:
    """Do the same as `hcvae.data.dataset.prepare`, but leave the training rows on disk.

    Raises:
        UserError: see `prepare`, or the validation and test parts exceed `data.memory_budget_gb`.
    """
    groups = row_groups(config.data.tables)
    table = read_tables(config.data, config.model.signal_length, waveforms=False)
    rate = sampling_rate_of(table)
    licence = config.data.licence or licence_of(table)
    split = split_rows(table, config.data)
    _check_parts(config, len(split.validation) + len(split.test))
    in_training = np.zeros(table.num_rows, np.bool_)
    in_training[split.train] = True
    rng = np.random.default_rng(config.data.split.seed)
    sample = np.sort(rng.choice(split.train, min(SAMPLE_ROWS, len(split.train)), replace=False))
    held = np.sort(np.concatenate([sample, split.validation, split.test]))

    static_columns = table.select(config.data.static)
    table = static_columns.take(split.train)
    group_by = config.normalization.group_by
    scan = _scan(config, groups, split, in_training, held, rate, group_names(table, group_by))

    scaling = SignalNormalization.of_moments(scan.sums, group_by, scan.names)
    preprocessing = fit_preprocessing(config, table, scaling, rate, scan.labelled)
    check_held_out(preprocessing.static, static_columns, split, config.data)
    rows = Rows.of(scan.held.drop_columns("signal"), signals_of(scan.held), rate, scaling, config.data)

    def part_of(numbers: NDArray[np.int64]) -> Part:
        return rows.part(np.searchsorted(held, numbers), scaling, preprocessing.static)

    return Dataset(
        train=part_of(sample),
        validation=part_of(split.validation),
        test=part_of(split.test),
        preprocessing=preprocessing,
        fingerprint=scan.digest,
        split=split,
        licence=licence,
        stream=Stream(config, preprocessing, groups, in_training, reader),
    )


@dataclass(frozen=True)
class _Scan:
    """What one pass over the files collects."""

    names: list[str]
    """Normalisation groups [K]."""
    sums: NDArray[np.float64]
    """Sums of `moments` over the training rows [3, K]."""
    labelled: PeakRange
    """Range of the labelled peaks of the training rows."""
    digest: str
    """SHA-256 digest of all rows and of their split, in hexadecimal."""
    held: pa.Table
    """The rows that are held in memory."""


def _scan(
    config: Config,
    groups: Sequence[RowGroup],
    split: Split,
    in_training: NDArray[np.bool_],
    held: NDArray[np.int64],
    rate_hz: float,
    names: list[str],
) -> _Scan:
    """Read all rows [N] once; keep those numbered `held`, and collect statistics of those `in_training` [N]."""
    sums = np.zeros((3, len(names)))
    labelled = PeakRange(np.full(6, np.inf), np.full(6, -np.inf))
    digest = hashlib.sha256()
    tables: list[pa.Table] = []
    for first, block in chain.from_iterable(_tables(config, group) for group in groups):
        end = first + block.num_rows
        signals = signals_of(block)
        peaks, mask = peaks_of(block, last_sample_ms(signals.shape[1], rate_hz))
        arrays = [signals, peaks, mask, response_codes(block, config.data)]
        digest.update(fingerprint(block.select(config.data.static), arrays).encode())
        trained = in_training[first:end]
        train_table = block.select(config.data.static).filter(pa.array(trained))
        sums += moments(signals[trained], train_table, config.normalization.group_by, names)
        labelled = labelled.merged(PeakRange.of(peaks[trained], mask[trained]))
        first_held, end_held = np.searchsorted(held, (first, end))
        tables.append(block.take(held[first_held:end_held] - first))
    for part in (np.array(rate_hz), split.train, split.validation, split.test):
        digest.update(part.tobytes())
    return _Scan(names, sums, labelled, digest.hexdigest(), pa.concat_tables(tables, promote_options="default"))


def row_groups(paths: Sequence[str]) -> tuple[RowGroup, ...]:
    """Return the row groups of Parquet files, without empty ones.

    Raises:
        UserError: a file is missing, or not a Parquet file.
    """
    groups: list[RowGroup] = []
    first = 0
    for path in paths:
        with open_parquet(path) as file:
            metadata = file.metadata
        for index in range(metadata.num_row_groups):
            n_rows = metadata.row_group(index).num_rows
            if n_rows:
                groups.append(RowGroup(os.path.abspath(path), index, first, n_rows))
                first += n_rows
    return tuple(groups)


def _tables(config: Config, group: RowGroup) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of a group as checked tables, each with the index of its first row among all N rows."""
    first = group.first
    with open_parquet(group.path, buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as file:
        columns = columns_to_read(file, config.data)
        for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group.index], columns=columns):
            where = f"{group.path}, from row {first} on"
            table = pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)
            yield first, check_table(table, config.data, config.model.signal_length, where)
            first += len(batch)


def _check_parts(config: Config, n_rows: int) -> None:
    needed = 4 * n_rows * config.model.signal_length / 1e9
    budget = config.data.memory_budget_gb or math.inf
    if needed > budget:
        raise UserError(
            f"data.split: the validation and test parts must fit into data.memory_budget_gb={budget:g}, but need "
            f"{needed:.2g} GB; lower --data.split.validation and --data.split.test"
        )
