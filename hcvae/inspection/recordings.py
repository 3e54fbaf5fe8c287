"""A waveform table for inspection. Unlike `hcvae.data.table.check_table`, it accepts rows that training refuses.

Shapes: N rows, T samples.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hcvae.data.split import row_codes
from hcvae.data.table import (
    LEVEL,
    SPECIES,
    as_lists,
    check_unique_names,
    decoded_column,
    list_column,
    sampling_rate_of,
    scalar_column,
    signals_of,
    text_column,
)
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean

NOISE = "residual_noise_uv"
FREQUENCY = "stimulus_frequency_hz"
KIND = ("dataset", SPECIES, "stimulus_type")
"""Columns that distinguish recordings whose levels and amplitudes are not comparable."""
PER_AVERAGE = frozenset({"record_id", "recording_index", "half", "n_averages", "n_artifacts", NOISE, "factor_noise"})
"""Columns that differ between averages of one response."""
MAX_LISTED = 5
"""Rows that a finding lists."""
MICROVOLTS = ("uV", "µV", "μV", "")
"""Names of the expected unit."""


@dataclass(frozen=True, repr=False)
class Recordings(Described):
    """The rows of a waveform table."""

    path: str
    table: pa.Table
    """All columns as stored."""
    scalars: pa.Table
    """Columns with one value per row, as float64 or text; NaN becomes null."""
    signals_uv: NDArray[np.float32]
    """Waveforms [N, T]; NaN in rows without one."""
    sampling_rate_hz: float
    subject: NDArray[np.str_]
    """Subject of each row [N]; empty if unknown."""
    average_columns: tuple[str, ...]
    """Columns that are equal in independent averages of one response."""

    @classmethod
    def of(
        cls,
        table: pa.Table,
        path: str = "table",
        subject_column: str = "subject_id",
        average_columns: Sequence[str] | None = None,
        sampling_rate_hz: float | None = None,
    ) -> Self:
        """Check and sort the columns; `average_columns` defaults to all scalar ones except `PER_AVERAGE`.

        Raises:
            UserError: no rows, two columns with one name, no `signal` of one length, a missing column, infinite
                numbers, text that is not UTF-8, text instead of numbers, or no sampling rate.
        """
        check_unique_names(table.column_names, path)
        if not table.num_rows:
            raise UserError(f"{path}: a waveform table must have rows, but got none")
        chosen = (subject_column, *(average_columns or ()))
        for name in ("signal", *chosen):
            if name not in table.column_names:
                raise UserError(f"{path}: column {name!r} is missing{did_you_mean(name, table.column_names)}")
        scalars = _scalars(table, chosen, path)
        if NOISE in scalars.column_names and pa.types.is_string(scalars[NOISE].type):
            raise UserError(f"{path}: column {NOISE!r} must have numbers, but got text; write them as numbers")
        if not average_columns:
            average_columns = [name for name in scalars.column_names if name not in PER_AVERAGE]
        subject = text_column(table[subject_column], f"{path}: column {subject_column!r}").fill_null("").to_pylist()
        if sampling_rate_hz is None and b"sampling_rate_hz" not in (table.schema.metadata or {}):
            raise UserError(f"{path}: no sampling_rate_hz in the metadata; set --sampling-rate-hz")
        rate_hz = sampling_rate_of(table, sampling_rate_hz, path)
        signals = _signals(table, path)
        return cls(path, table, scalars, signals, rate_hz, np.array(subject, str), tuple(average_columns))

    def __len__(self) -> int:
        return len(self.signals_uv)

    def facts(self) -> dict[str, object]:
        """Return the file and its sizes."""
        sizes = {"rows": len(self), "samples": f"{self.signals_uv.shape[1]} at {self.sampling_rate_hz:g} Hz"}
        return {"path": self.path, **sizes, "subjects": len(np.unique(self.subject))}

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Time of each sample after stimulus onset [T]; the first is that of the import, else 0."""
        return self._start_ms + np.arange(self.signals_uv.shape[1], dtype=np.float64) * 1e3 / self.sampling_rate_hz

    @property
    def _start_ms(self) -> float:
        from hcvae.importers.provenance import METADATA  # imported late, as it loads SciPy

        record = (self.table.schema.metadata or {}).get(METADATA)
        try:
            if not record:
                return 0.0
            return float(json.loads(record)["options"]["steps"]["grid"]["start_ms"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{self.path}: {METADATA.decode()} in the metadata is not from an import") from None

    @property
    def unit(self) -> str:
        """Unit of the waveforms, from the metadata of `signal`, or else uV."""
        unit: str = (self.table.schema.field("signal").metadata or {}).get(b"unit", b"").decode()
        if unit in MICROVOLTS:
            return "uV"
        return unit

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Whether all samples of a row are finite [N]."""
        return np.asarray(np.isfinite(self.signals_uv).all(axis=1))

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Whether a row is finite and not constant [N]."""
        signals = np.where(self.finite[:, None], self.signals_uv, 0)
        return np.asarray(self.finite & (np.ptp(signals, axis=1) > 0))

    @cached_property
    def levels_db(self) -> NDArray[np.float64]:
        """Stimulus level of each row [N]; NaN if unknown."""
        if LEVEL not in self.scalars.column_names or not pa.types.is_float64(self.scalars[LEVEL].type):
            return np.full(len(self), np.nan)
        return np.asarray(self.scalars[LEVEL].to_numpy(), np.float64)

    @cached_property
    def response(self) -> NDArray[np.int64]:
        """A number for each row [N], the same for independent averages of one response."""
        return self.codes(self.average_columns)

    def codes(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """Return a number for each row [N], the same for rows that agree in those `columns` that the table has."""
        exact: dict[str, pa.ChunkedArray] = {}
        for name in columns:
            if name in self.scalars.column_names:
                is_integer = pa.types.is_integer(self.table[name].type)  # float64 would round large integers
                exact[name] = self.scalars[name]
                if is_integer:
                    exact[name] = self.table[name]
        if not exact:
            return np.zeros(len(self), np.int64)
        return row_codes(pa.table(exact), [*exact])

    def highest(self, within: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a usable row is in the upper third of the levels of its group `within` [N]; all without levels."""
        result = self.usable.copy()
        for rows in groups(within):
            levels = self.levels_db[rows]
            if np.isfinite(levels).any():
                lowest = np.nanmin(levels)
                result[rows] &= levels >= lowest + 2 / 3 * (np.nanmax(levels) - lowest)
        return result

    def named(self, rows: NDArray[np.int64]) -> str:
        """List the first of `rows` by number, counted from 0, and record_id."""
        names = list(map(str, rows[:MAX_LISTED]))
        if "record_id" in self.scalars.column_names:
            ids = self.scalars["record_id"].take(rows[:MAX_LISTED]).to_pylist()
            names = [f"{row} ({record_id})" for row, record_id in zip(names, ids, strict=True)]
        if len(rows) > MAX_LISTED:
            names.append("...")
        return ", ".join(names)


def groups(codes: NDArray[np.int64], among: NDArray[np.bool_] | None = None) -> list[NDArray[np.int64]]:
    """Return the rows of each code of `codes` [N] that are `among` [N], in the order of the codes."""
    if among is None:
        among = np.ones(len(codes), np.bool_)
    rows = np.flatnonzero(among)
    order = rows[np.argsort(codes[rows], kind="stable")]
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return [part for part in parts if len(part)]


def read(
    path: str,
    subject_column: str = "subject_id",
    average_columns: Sequence[str] | None = None,
    sampling_rate_hz: float | None = None,
) -> Recordings:
    """Read a Parquet waveform table; `sampling_rate_hz` is needed if its metadata lack it.

    Raises:
        UserError: no such file, not Parquet, or see `Recordings.of`.
    """
    try:
        with pq.ParquetFile(path) as file:  # `read_table` would add columns from folder names
            table = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name a Parquet waveform table or a model bundle's folder") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: must be a readable Parquet file, but got: {error}") from error
    return Recordings.of(table, path, subject_column, average_columns, sampling_rate_hz)


def _scalars(table: pa.Table, chosen: Sequence[str], path: str) -> pa.Table:
    """Convert all columns that are not nested; those `chosen` must not be."""
    scalars: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in chosen or not pa.types.is_nested(decoded_column(column).type):
            scalars[name] = scalar_column(column, f"{path}: column {name!r}")
    return pa.table(scalars)


def _signals(table: pa.Table, path: str) -> NDArray[np.float32]:
    where = f"{path}: column 'signal'"
    column = list_column(table["signal"], f"{where} must have lists of samples")
    lengths = Counter(pc.list_value_length(column.drop_null()).to_pylist())
    if len(lengths) != 1:
        raise UserError(f"{path}: all waveforms must have one length, but got (samples: rows) {dict(lengths)}")
    [length] = lengths
    if length < 2:
        raise UserError(f"{where} must have waveforms of at least 2 samples, but got lists of {length}")
    values = as_lists(column.drop_null(), pa.float32(), length, where)
    signals = np.full((len(column), length), np.nan, np.float32)
    signals[column.is_valid().to_numpy()] = signals_of(pa.table({"signal": values}))
    return signals
