"""A waveform table as it is, whatever is wrong with it; training is stricter (`hcvae.data.table.check_table`).

Legend: N rows, T samples.
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

LEVEL, SPECIES, NOISE, FREQUENCY = (
    "stimulus_level_db",
    "species",
    "residual_noise_uv",
    "stimulus_frequency_hz",
)
KIND = ("dataset", SPECIES, "stimulus_type")
"""Columns that tell recordings apart whose levels and amplitudes do not compare."""
OF_ONE_AVERAGE = (*("record_id", "recording_index", "half", "n_averages", "n_artifacts", NOISE, "factor_noise"),)
"""Columns that differ between averages of one response."""
NAMED = 5
MICROVOLTS = ("uV", "µV", "μV", "")
"""Names of the unit that everything here reads."""


@dataclass(frozen=True, repr=False)
class Recordings(Described):
    """The rows of a table."""

    path: str
    table: pa.Table
    """All columns as they are."""
    scalars: pa.Table
    """The columns of one value a row, as float64 or text; NaN is null."""
    signals_uv: NDArray[np.float32]
    """[N, T]; a row of NaN where there is no waveform."""
    sampling_rate_hz: float
    subject: NDArray[np.str_]
    """[N]."""
    average_columns: tuple[str, ...]
    """Rows that agree in all of them are independent averages of one response."""

    @classmethod
    def of(
        cls,
        table: pa.Table,
        path: str = "table",
        subject_column: str = "subject_id",
        average_columns: Sequence[str] | None = None,
        sampling_rate_hz: float | None = None,
    ) -> Self:
        """Take the columns apart; `average_columns` defaults to all scalar ones but `OF_ONE_AVERAGE`.

        Raises:
            UserError: no rows, two columns of one name, no `signal` of one length, no such column, infinite numbers,
                text that is not UTF-8, text in place of numbers, or no sampling rate.
        """
        check_unique_names(table.column_names, path)
        if not table.num_rows:
            raise UserError(f"{path}: a waveform table must hold rows, but got none")
        for name in ("signal", subject_column, *(average_columns or ())):
            if name not in table.column_names:
                raise UserError(f"{path}: column {name!r} is missing{did_you_mean(name, table.column_names)}")
        named = (subject_column, *(average_columns or ()))
        scalars = pa.table(
            {
                name: scalar_column(column, f"{path}: column {name!r}")
                for name, column in zip(table.column_names, table.columns, strict=True)
                if name in named or not pa.types.is_nested(decoded_column(column).type)
            }
        )
        if NOISE in scalars.column_names and pa.types.is_string(scalars[NOISE].type):
            raise UserError(f"{path}: column {NOISE!r} must hold numbers, but got text; write them as numbers")
        chosen = average_columns or [name for name in scalars.column_names if name not in OF_ONE_AVERAGE]
        subject = text_column(table[subject_column], f"{path}: column {subject_column!r}").fill_null("").to_pylist()
        if sampling_rate_hz is None and b"sampling_rate_hz" not in (table.schema.metadata or {}):
            raise UserError(f"{path}: no sampling_rate_hz in the metadata; give --sampling-rate-hz")
        rate_hz = sampling_rate_of(table, sampling_rate_hz, path)
        return cls(path, table, scalars, _signals(table, path), rate_hz, np.array(subject, str), tuple(chosen))

    def __len__(self) -> int:
        return len(self.signals_uv)

    def facts(self) -> dict[str, object]:
        """The file and its sizes."""
        sizes = {"rows": len(self), "samples": f"{self.signals_uv.shape[1]} at {self.sampling_rate_hz:g} Hz"}
        return {"path": self.path, **sizes, "subjects": len(np.unique(self.subject))}

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Time of each sample after stimulus onset [T]; the first one's is that of the import, else 0."""
        return self._start_ms + np.arange(self.signals_uv.shape[1], dtype=np.float64) * 1e3 / self.sampling_rate_hz

    @property
    def _start_ms(self) -> float:
        from hcvae.importers.provenance import METADATA  # here: it imports SciPy

        record = (self.table.schema.metadata or {}).get(METADATA)
        try:
            return float(json.loads(record)["options"]["steps"]["grid"]["start_ms"]) if record else 0.0
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{self.path}: {METADATA.decode()} in the metadata is no record of an import") from None

    @property
    def unit(self) -> str:
        """Of the waveforms, as the metadata of `signal` name it; uV where they do not."""
        named = (self.table.schema.field("signal").metadata or {}).get(b"unit", b"").decode()
        return named if named not in MICROVOLTS else "uV"

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Rows [N] whose samples are all numbers."""
        return np.asarray(np.isfinite(self.signals_uv).all(axis=1))

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Rows [N] that are finite and not constant."""
        return np.asarray(self.finite & (np.ptp(np.where(self.finite[:, None], self.signals_uv, 0), axis=1) > 0))

    @cached_property
    def levels_db(self) -> NDArray[np.float64]:
        """Stimulus level of each row [N]; NaN where unknown."""
        if LEVEL not in self.scalars.column_names or not pa.types.is_float64(self.scalars[LEVEL].type):
            return np.full(len(self), np.nan)
        return np.asarray(self.scalars[LEVEL].to_numpy(), np.float64)

    @cached_property
    def response(self) -> NDArray[np.int64]:
        """Rows [N] of one number are independent averages of one response."""
        return self.codes(self.average_columns)

    def codes(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """A number [N] for each row, the same where rows agree in those of `columns` that are there."""
        exact = {
            name: self.table[name] if pa.types.is_integer(self.table[name].type) else self.scalars[name]
            for name in columns
            if name in self.scalars.column_names
        }
        return row_codes(pa.table(exact), [*exact]) if exact else np.zeros(len(self), np.int64)

    def highest(self, within: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Usable rows [N] in the upper third of the levels of their group `within` [N]; all of it without levels."""
        result = self.usable.copy()
        for rows in groups(within):
            levels = self.levels_db[rows]
            if np.isfinite(levels).any():
                lowest, top = np.nanmin(levels), np.nanmax(levels)
                result[rows] &= levels >= lowest + 2 / 3 * (top - lowest)
        return result

    def named(self, rows: NDArray[np.int64]) -> str:
        """The numbers of some rows from 0, with their record_id; the first few of them."""
        has_id = "record_id" in self.scalars.column_names
        names = [f"{row} ({self.scalars['record_id'][int(row)]})" if has_id else str(row) for row in rows[:NAMED]]
        return ", ".join(names) + (", ..." if len(rows) > NAMED else "")


def groups(codes: NDArray[np.int64], among: NDArray[np.bool_] | None = None) -> list[NDArray[np.int64]]:
    """The rows of each code of `codes` [N] that are `among` [N], in the order of the codes."""
    rows = np.arange(len(codes)) if among is None else np.flatnonzero(among)
    order = rows[np.argsort(codes[rows], kind="stable")]
    return [group for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(group)]


def read(
    path: str,
    subject_column: str = "subject_id",
    average_columns: Sequence[str] | None = None,
    sampling_rate_hz: float | None = None,
) -> Recordings:
    """Read a Parquet waveform table; `sampling_rate_hz` is needed where its metadata do not say it.

    Raises:
        UserError: no such file, not Parquet, or see `Recordings.of`.
    """
    try:
        with pq.ParquetFile(path) as file:  # `read_table` would take folder names for columns
            table = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name a Parquet waveform table or a model bundle's folder") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: must be a readable Parquet file, but got: {error}") from error
    return Recordings.of(table, path, subject_column, average_columns, sampling_rate_hz)


def _signals(table: pa.Table, path: str) -> NDArray[np.float32]:
    where = f"{path}: column 'signal'"
    column = list_column(table["signal"], f"{where} must hold lists of samples")
    lengths = Counter(pc.list_value_length(column.drop_null()).to_pylist())
    if len(lengths) != 1:
        raise UserError(f"{path}: all waveforms must have one length, but got (samples: rows) {dict(lengths)}")
    [length] = lengths
    if length < 2:
        raise UserError(f"{where} must hold waveforms of 2 samples or more, but got lists of {length}")
    values = as_lists(column.drop_null(), pa.float32(), length, where)
    signals = np.full((len(column), length), np.nan, np.float32)
    signals[column.is_valid().to_numpy()] = signals_of(pa.table({"signal": values}))
    return signals
