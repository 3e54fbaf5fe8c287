"""Counts and ranges of a waveform table.

Shapes: N rows, T samples.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hcvae.data.table import PEAK_COLUMNS, WAVES, as_lists
from hcvae.described import Described
from hcvae.inspection.recordings import Recordings

MAX_LISTED_VALUES = 6
WAVEFORM_COLUMNS = ("signal", *PEAK_COLUMNS)


@dataclass(frozen=True)
class ColumnSummary:
    """A column with one value per row."""

    name: str
    type: str
    missing: int
    """Number of rows that are null or NaN."""
    distinct: int
    """Number of different values, without null."""
    values: str
    """The range of numbers, or the most frequent texts."""
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, repr=False)
class Summary(Described):
    """Counts and ranges of a table."""

    rows: int
    subjects: int
    samples: int
    sampling_rate_hz: float
    duration_ms: float
    columns: list[ColumnSummary]
    rows_by_level: dict[str, dict[str, int]]
    """Number of rows of each subject at each level in dB; empty if no level is known."""
    rms_uv: dict[str, float]
    """Percentiles 5, 50, 95 of the RMS of the waveforms."""
    peak_to_peak_uv: dict[str, float]
    """Percentiles 5, 50, 95 of their peak-to-peak amplitude."""
    labelled_peaks: dict[str, int]
    """Number of rows with a labelled peak, by wave; empty without peak columns."""

    def facts(self) -> dict[str, object]:
        """Return sizes, and the names of the columns."""
        samples = f"{self.samples} at {self.sampling_rate_hz:g} Hz"
        columns = ", ".join(column.name for column in self.columns)
        return {"rows": self.rows, "subjects": self.subjects, "samples": samples, "columns": columns}


def summarise(recordings: Recordings) -> Summary:
    """Compute the summary of a table."""
    finite = recordings.signals_uv[recordings.finite].astype(np.float64)
    samples = recordings.signals_uv.shape[1]
    return Summary(
        rows=len(recordings),
        subjects=len(np.unique(recordings.subject)),
        samples=samples,
        sampling_rate_hz=recordings.sampling_rate_hz,
        duration_ms=samples / recordings.sampling_rate_hz * 1e3,
        columns=[_column(recordings, name) for name in recordings.table.column_names if name not in WAVEFORM_COLUMNS],
        rows_by_level=_rows_by_level(recordings),
        rms_uv=_percentiles(np.sqrt(np.mean(finite**2, axis=1))),
        peak_to_peak_uv=_percentiles(np.ptp(finite, axis=1)),
        labelled_peaks=_labelled(recordings.table),
    )


def _column(recordings: Recordings, name: str) -> ColumnSummary:
    stored = recordings.table[name]
    type_name = str(stored.type)
    if name not in recordings.scalars.column_names:
        return ColumnSummary(name, type_name, stored.null_count, 0, "not inspected: several values per row", None, None)
    column = recordings.scalars[name]
    known = column.drop_null()
    exact = column
    if pa.types.is_integer(stored.type):
        exact = stored  # float64 would round large integers
    distinct = len(pc.unique(exact.drop_null()))
    if not distinct:
        return ColumnSummary(name, type_name, column.null_count, distinct, "", None, None)
    if pa.types.is_float64(column.type):
        ends = pc.min_max(known).as_py()
        lowest = float(ends["min"])
        highest = float(ends["max"])
        shown = _span(lowest, highest)
        return ColumnSummary(name, type_name, column.null_count, distinct, shown, lowest, highest)
    shown = _most_frequent(known, distinct)
    return ColumnSummary(name, type_name, column.null_count, distinct, shown, None, None)


def _span(lowest: float, highest: float) -> str:
    if lowest == highest:
        return f"{lowest:g}"
    return f"{lowest:g} to {highest:g}"


def _most_frequent(known: pa.ChunkedArray, distinct: int) -> str:
    counts = sorted(pc.value_counts(known).to_pylist(), key=lambda entry: -entry["counts"])
    values = [str(entry["values"]) for entry in counts[:MAX_LISTED_VALUES]]
    if distinct > MAX_LISTED_VALUES:
        values.append("...")
    return ", ".join(values)


def _rows_by_level(recordings: Recordings) -> dict[str, dict[str, int]]:
    known = np.isfinite(recordings.levels_db)
    result: dict[str, dict[str, int]] = {}
    for level in np.unique(recordings.levels_db[known]):
        subjects, counts = np.unique(recordings.subject[recordings.levels_db == level], return_counts=True)
        result[f"{level:g}"] = dict(zip(subjects.tolist(), counts.tolist(), strict=True))
    return result


def _percentiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    return {str(share): float(np.percentile(values, share)) for share in (5, 50, 95)}


def _labelled(table: pa.Table) -> dict[str, int]:
    valid = PEAK_COLUMNS[2]
    if valid not in table.column_names:
        return {}
    lists = as_lists(table[valid], pa.bool_(), len(WAVES), f"column {valid!r}")
    labelled = {}
    for number, wave in enumerate(WAVES):
        labelled[wave] = int(pc.sum(pc.list_element(lists, number)).as_py() or 0)
    return labelled
