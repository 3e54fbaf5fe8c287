"""Waveform tables that memory does not hold: statistics from one pass over the files, training rows block by block.

In memory are the columns of one value a row, while they are fitted to, the validation and test parts, and a sample of
the training part.

Legend: N rows of all tables, T samples.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.config import Config
from hcvae.data.dataset import Dataset, Rows, fingerprint, fitted, peaks_of, responses_of
from hcvae.data.normalization import SignalNormalization, group_names, moments
from hcvae.data.preprocessing import Preprocessing, last_sample_ms
from hcvae.data.split import split_rows
from hcvae.data.table import check_table, licence_of, opened, read_tables, sampling_rate_of, signals_of, wanted_columns
from hcvae.errors import UserError

BLOCK_ROWS = 8192
"""Rows that are read at once."""
SAMPLE_ROWS = 32_768
"""Of the training part, in memory."""
READ_AHEAD_BYTES = 2**22
"""Of each column; without it the whole column of a row group would be read at once."""
BLOCKS_ON_THEIR_WAY = 16

Block = dict[str, NDArray[np.generic]]
"""Training rows: arrays by name, as `hcvae.training.tensors.PartTensors.of_block` takes them."""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file, the unit that is shuffled and shared out."""

    path: str
    """Absolute: others read it."""
    index: int
    """Number in its file."""
    first: int
    """Number of its first row among the N."""
    n_rows: int


@dataclass(frozen=True)
class Span:
    """Training rows of a row group that follow one another."""

    group: RowGroup
    skip: int
    """Training rows of the group before them."""
    count: int


@dataclass(frozen=True)
class Stream:
    """The training rows of tables that stay on the disk."""

    config: Config
    preprocessing: Preprocessing
    groups: tuple[RowGroup, ...]
    in_training: NDArray[np.bool_]
    """Which of the rows [N] are training rows."""
    through: Callable[["Stream", Sequence[Span]], Iterator[Block]]
    """Who reads the spans, one after another: `directly`, or others on its behalf."""

    def __len__(self) -> int:
        return int(self.group_rows.sum())

    @property
    def nbytes(self) -> int:
        """Memory of the blocks on their way: two waveforms a row, and little else."""
        return BLOCKS_ON_THEIR_WAY * BLOCK_ROWS * 8 * self.preprocessing.signal_length

    @property
    def n_groups(self) -> int:
        """Row groups."""
        return len(self.groups)

    @cached_property
    def group_rows(self) -> NDArray[np.int64]:
        """Training rows of each row group."""
        firsts = [group.first for group in self.groups]
        return np.add.reduceat(self.in_training, firsts, dtype=np.int64)

    def blocks(self, groups: Sequence[int], first: int, count: int) -> Iterator[Block]:
        """`count` training rows from number `first` on, where the row groups are in the order `groups`.

        Raises:
            UserError: a file has changed, so that it cannot be read or has fewer rows.
        """
        ends = np.cumsum(self.group_rows[list(groups)])
        starts = ends - self.group_rows[list(groups)]
        spans = [
            Span(self.groups[group], max(first - start, 0), min(end, first + count) - max(start, first))
            for group, start, end in zip(groups, starts.tolist(), ends.tolist(), strict=True)
            if max(start, first) < min(end, first + count)
        ]
        return self.through(self, spans)


def directly(stream: Stream, spans: Sequence[Span]) -> Iterator[Block]:
    """The blocks of the spans, read by this process."""
    for span in spans:
        yield from read_span(stream, span)


def read_span(stream: Stream, span: Span) -> Iterator[Block]:
    """The rows of a span, normalised and encoded, in blocks.

    Another average of the same response is looked for in the block that was read: where there is none, it is the
    waveform itself.
    """
    config, scaling, static = stream.config, stream.preprocessing.signal, stream.preprocessing.static
    passed = -span.skip
    for first, table in _tables(config, span.group):
        chosen = np.flatnonzero(stream.in_training[first : first + table.num_rows])
        inside = slice(max(-passed, 0), max(span.count - passed, 0))
        passed += len(chosen)
        if len(chosen[inside]):
            signals, rate = signals_of(table), stream.preprocessing.sampling_rate_hz
            part = Rows.of(table.drop_columns("signal"), signals, rate, scaling, config.data).part(
                chosen, scaling, static
            )
            own = np.arange(len(part))
            response = part.signals[np.where(part.independent >= 0, part.independent, own)]
            arrays = (part.signals, part.static, part.peaks, part.peak_mask, response)
            names = ("signals", "static", "peaks", "peak_mask", "response")
            yield {name: array[inside] for name, array in zip(names, arrays, strict=True)}
        if passed >= span.count:
            return


def exceeds_budget(config: Config) -> bool:
    """Whether the waveforms of the tables would take more memory than `data.memory_budget_gb`.

    Raises:
        UserError: a file is missing, or no Parquet file.
    """
    budget = config.data.memory_budget_gb
    if budget is None or not config.data.tables:
        return False
    n_rows = sum(group.n_rows for group in row_groups(config.data.tables))
    return 4 * n_rows * config.model.signal_length > budget * 1e9


def prepare_stream(config: Config, through: Callable[[Stream, Sequence[Span]], Iterator[Block]] = directly) -> Dataset:
    """As `hcvae.data.dataset.prepare`, but with the training rows left on the disk.

    Raises:
        UserError: as `prepare`, or the validation and test parts exceed `data.memory_budget_gb`.
    """
    groups = row_groups(config.data.tables)
    table = read_tables(config.data, config.model.signal_length, waveforms=False)
    rate, licence, group_by = sampling_rate_of(table), licence_of(table), config.normalization.group_by
    split = split_rows(table, config.data)
    _check_parts(config, len(split.validation) + len(split.test))
    in_training = np.zeros(table.num_rows, np.bool_)
    in_training[split.train] = True
    draw = np.random.default_rng(config.data.split.seed)
    sample = np.sort(draw.choice(split.train, min(SAMPLE_ROWS, len(split.train)), replace=False))
    kept = np.sort(np.concatenate([sample, split.validation, split.test]))

    table = table.select(config.data.static).take(split.train)
    names = group_names(table, group_by)
    sums, labelled, digest, tables = np.zeros((3, len(names))), np.zeros(6, np.int64), hashlib.sha256(), []
    for first, block in (found for group in groups for found in _tables(config, group)):
        signals, trained = signals_of(block), in_training[first : first + block.num_rows]
        peaks, mask = peaks_of(block, last_sample_ms(signals.shape[1], rate))
        arrays = [signals, peaks, mask, responses_of(block, config.data)]
        digest.update(fingerprint(block.select(config.data.static), arrays).encode())
        described = block.select(config.data.static).filter(pa.array(trained))
        sums += moments(signals[trained], described, group_by, names)
        labelled += mask[trained].sum(axis=0)
        inside = slice(*np.searchsorted(kept, (first, first + block.num_rows)))
        tables.append(block.take(kept[inside] - first))
    for part in (np.array(rate), split.train, split.validation, split.test):
        digest.update(part.tobytes())

    scaling = SignalNormalization.of_moments(sums, group_by, names)
    preprocessing = fitted(config, table, scaling, rate, labelled)
    held = pa.concat_tables(tables, promote_options="default")
    rows = Rows.of(held.drop_columns("signal"), signals_of(held), rate, scaling, config.data)
    train, validation, test = (
        rows.part(np.searchsorted(kept, part), scaling, preprocessing.static)
        for part in (sample, split.validation, split.test)
    )
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        preprocessing=preprocessing,
        fingerprint=digest.hexdigest(),
        split=split,
        licence=config.data.licence or licence,
        stream=Stream(config, preprocessing, groups, in_training, through),
    )


def row_groups(paths: Sequence[str]) -> tuple[RowGroup, ...]:
    """The row groups of Parquet files, but for empty ones.

    Raises:
        UserError: a file is missing, or no Parquet file.
    """
    groups, first = [], 0
    for path in paths:
        with opened(path) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
        for index, n_rows in enumerate(sizes):
            if n_rows:
                groups.append(RowGroup(os.path.abspath(path), index, first, n_rows))
                first += n_rows
    return tuple(groups)


def _tables(config: Config, group: RowGroup) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a group as checked tables, each with the number of its first row among the N."""
    first = group.first
    with opened(group.path, buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as file:
        columns = [name for name in wanted_columns(config.data) if name in file.schema_arrow.names]
        for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group.index], columns=columns):
            where = f"{group.path}, from row {first}"
            table = pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)
            yield first, check_table(table, config.data, config.model.signal_length, where)
            first += len(batch)


def _check_parts(config: Config, n_rows: int) -> None:
    needed, budget = 4 * n_rows * config.model.signal_length / 1e9, config.data.memory_budget_gb or math.inf
    if needed > budget:
        raise UserError(
            f"data.split: the validation and test parts must fit into data.memory_budget_gb={budget:g}, but take "
            f"{needed:.2g} GB; lower data.split.validation and data.split.test"
        )
