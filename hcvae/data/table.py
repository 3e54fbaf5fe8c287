"""The waveform table: an Arrow table with one averaged waveform in uV per row, read from Parquet and checked.

Shapes: N rows, T samples.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hcvae.atomic import atomic_write
from hcvae.config import DataConfig
from hcvae.counting import counted, repeated
from hcvae.data.plausible_ranges import HIGHPASS, LOWPASS, implausible_rows, is_logical, spread
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean

WAVES = ("I", "II", "III", "IV", "V")
LEVEL = "stimulus_level_db"
SPECIES = "species"
RESPONSE_COLUMNS = (
    "dataset",
    "ear",
    "age_days",
    "age_years",
    "stimulus_type",
    "stimulus_frequency_hz",
    "stimulus_rate_hz",
    "stimulus_polarity",
    "level_reference",
    HIGHPASS,
    LOWPASS,
)
"""Columns in which independent averages of one response agree, where a table has them."""
PEAK_COLUMNS = ("peak_latency_ms", "peak_amplitude_uv", "peak_valid")
MAX_LISTED_ROWS = 5
RESIDUAL_NOISE = b"residual_noise"
"""Key of the metadata of a table of generated waveforms: whether they contain residual noise, `true` or `false`."""
GENERATED_WITH = b"generated_with"
"""Key of the metadata of a table of generated waveforms: the name of the folder of the bundle."""
NOT_STATED = "not stated"
"""Licence of a table without one."""


def waveform_schema(
    scalars: Mapping[str, pa.DataType], signal_length: int, sampling_rate_hz: float, *, peaks: bool = True
) -> pa.Schema:
    """Return the schema of a waveform table: the scalar columns `scalars` (name to type), signal and labelled peaks."""
    fields = list(starmap(pa.field, scalars.items()))
    fields.append(pa.field("signal", pa.list_(pa.float32(), signal_length), metadata={"unit": "uV"}))
    if peaks:
        latency, amplitude, valid = PEAK_COLUMNS
        fields += [
            pa.field(latency, pa.list_(pa.float32(), len(WAVES)), metadata={"unit": "ms"}),
            pa.field(amplitude, pa.list_(pa.float32(), len(WAVES)), metadata={"unit": "uV"}),
            pa.field(valid, pa.list_(pa.bool_(), len(WAVES))),
        ]
    return pa.schema(fields, metadata={"sampling_rate_hz": str(sampling_rate_hz)})


def read_tables(config: DataConfig, signal_length: int, *, waveforms: bool = True) -> pa.Table:
    """Read the columns that training needs from `config.tables`, as one table checked by `check_table`.

    Without `waveforms`, signals and peaks are neither read nor checked.

    Raises:
        UserError: a file is missing, not Parquet, fails `check_table`, or does not match the other files.
    """
    if len(set(map(os.path.realpath, config.tables))) < len(config.tables):
        raise UserError(
            f"data.tables: each file must be named once, but got {list(config.tables)}; copies of a row are "
            "not independent averages"
        )
    tables = [_read(path, config, signal_length, waveforms) for path in config.tables]
    rates = dict(zip(config.tables, map(sampling_rate_of, tables), strict=True))
    if len(set(rates.values())) > 1:
        raise UserError(f"data.tables: all files must have one sampling rate, but got {rates} Hz; resample the files")
    licences = list(map(licence_of, tables))
    metadata = {"sampling_rate_hz": str(rates[config.tables[0]])}
    if any(licences):
        stated = [licence or NOT_STATED for licence in licences]
        metadata["licence"] = "; ".join(dict.fromkeys(stated))
    try:
        return pa.concat_tables(tables, promote_options="default").replace_schema_metadata(metadata)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"data.tables: a column is text in one file and a number in another ({error})") from error


def check_table(
    table: pa.Table, config: DataConfig, signal_length: int, where: str, *, waveforms: bool = True
) -> pa.Table:
    """Check a waveform table and return the columns that training needs, each of one type.

    Static columns become float64 or text (NaN becomes null), other columns that identify subjects and recordings text,
    `signal` a fixed-size list of `signal_length` float32, peak columns lists of 5 (waves I to V). The metadata contain
    `sampling_rate_hz` and, if known, `licence`.

    Raises:
        UserError: no rows, two columns with one name, a column that is missing or has a wrong type or length, waveforms
            that are not finite, rows without a subject, static columns with implausible numbers, no sampling rate. The
            message starts with `where`.
    """
    if not table.num_rows:
        raise UserError(f"{where}: a waveform table must have rows, but got none")
    columns = {}
    for name in _columns(table.column_names, config, where, waveforms):
        at = f"{where}: column {name!r}"
        column = table[name]
        if name == "signal":
            columns[name] = checked_signal(column, signal_length, at)
        elif name in PEAK_COLUMNS:
            value_type = pa.bool_() if name == "peak_valid" else pa.float32()
            columns[name] = as_lists(column, value_type, len(WAVES), at)
        elif is_logical(name, decoded_column(column)):
            raise UserError(f"{at}: must hold numbers, but got logical values")
        elif name in config.static:
            columns[name] = scalar_column(column, at)
        else:
            columns[name] = text_column(column, at)
    static = {name: columns[name] for name in config.static}
    for name, bad, expected in implausible_rows(static):
        values = columns[name].to_numpy()[bad]
        _refuse_rows(bad, f"{where}: column {name!r}", f"must be {expected}, but got {spread(values)}")
    has_no_subject = pc.is_null(columns[config.subject_column])
    _refuse_rows(has_no_subject, f"{where}: column {config.subject_column!r}", "have no subject")
    metadata = {"sampling_rate_hz": str(sampling_rate_of(table, config.sampling_rate_hz, where))}
    licence = licence_of(table)
    if licence:
        metadata["licence"] = licence
    return pa.table(columns, metadata=metadata)


def scalar_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Convert a column to float64 (numbers, booleans; NaN becomes null) or text; a column of nulls is unchanged.

    Raises:
        UserError: nested values, infinite numbers, or text that is not UTF-8.
    """
    column = _plain(column, where)
    if pa.types.is_null(column.type):
        return column
    if not _is_any(column, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean):
        return text_column(column, where)
    numbers = column.cast(pa.float64(), safe=False)  # integers above 2^53 are rounded
    _refuse_rows(pc.is_inf(numbers), where, "are infinite")
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def text_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Convert each value to text: numbers with all digits, bytes as hexadecimal digits.

    Raises:
        UserError: nested values, or text that is not UTF-8.
    """
    column = _plain(column, where)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    if _is_any(column, *tests):
        return pa.chunked_array([list(map(_hexadecimal, column.to_pylist()))], pa.string())
    try:
        text = column.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowException as error:
        raise UserError(f"{where}: must hold numbers or text in UTF-8, but got type {column.type} ({error})") from error
    return text


def _hexadecimal(value: bytes | None) -> str | None:
    if value is None:
        return None
    return value.hex()


def checked_signal(column: pa.ChunkedArray, length: int, where: str) -> pa.ChunkedArray:
    """Convert the waveforms to fixed-size lists of `length` float32.

    Raises:
        UserError: nulls, a wrong length or type, or samples that are not finite.
    """
    _refuse_rows(pc.is_null(column), where, "have no waveform")
    signal = as_lists(column, pa.float32(), length, f"{where} (model.signal_length={length})")
    with np.errstate(invalid="ignore"):  # the sum of a row is NaN or infinite if a sample is
        total = signals_of(pa.table({"signal": signal})).sum(axis=1, dtype=np.float64)
    _refuse_rows(~np.isfinite(total), where, "contain NaN or infinite samples")
    return signal


def signals_of(table: pa.Table) -> NDArray[np.float32]:
    """Return the waveforms [N, T] in uV, without a copy if the table has one chunk."""
    chunks: list[NDArray[Any]] = []
    for chunk in table["signal"].chunks:
        if len(chunk):
            chunks.append(chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1))
    signals = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return signals.astype(np.float32, copy=False)


def sampling_rate_of(table: pa.Table, given_hz: float | None = None, where: str = "table") -> float:
    """Return the sampling rate in Hz from the table's metadata, or else `given_hz`.

    Raises:
        UserError: both are missing, they differ, or the rate is not a positive number.
    """
    stored = (table.schema.metadata or {}).get(b"sampling_rate_hz")
    if stored is None:
        if given_hz is None:
            raise UserError(f"{where}: no sampling_rate_hz in the metadata; set --data.sampling_rate_hz")
        return given_hz
    try:
        rate = float(stored)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UserError(
            f"{where}: sampling_rate_hz must be a positive number, but got {stored.decode(errors='replace')!r}"
        )
    if given_hz not in (None, rate):
        raise UserError(f"{where}: recorded at {rate:g} Hz, but got data.sampling_rate_hz={given_hz:g}; resample it")
    return rate


def licence_of(table: pa.Table) -> str | None:
    """Return the licence of the recordings with its attribution, from the metadata `licence` and `attribution`."""
    metadata = table.schema.metadata or {}
    licence: str = metadata.get(b"licence", b"").decode(errors="replace")
    attribution: str = metadata.get(b"attribution", b"").decode(errors="replace")
    if licence and attribution:
        return f"{licence} ({attribution})"
    return licence or None


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write `table` as Parquet, atomically.

    Raises:
        UserError: `path` cannot be written.
    """
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


@contextmanager
def open_parquet(path: str, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of `data.tables`; `options` are those of pyarrow's ParquetFile.

    Raises:
        UserError: it is missing, or not a Parquet file.
    """
    try:
        with pq.ParquetFile(path, **options) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(
            f"data.tables: no such file, but got {path!r}; name a Parquet file (paths in a configuration file are "
            "relative to that file)"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: must be a readable Parquet file, but got: {error}") from error


def _read(path: str, config: DataConfig, signal_length: int, waveforms: bool) -> pa.Table:
    with open_parquet(path, memory_map=True) as file:
        names = file.schema_arrow.names
        _columns(names, config, path)  # before selecting, so that the message can suggest any column of the file
        table = file.read(columns=columns_to_read(file, config, waveforms))
    return check_table(table, config, signal_length, path, waveforms=waveforms)


def columns_to_read(file: pq.ParquetFile, config: DataConfig, waveforms: bool = True) -> list[str]:
    """Return the columns of a file that training uses."""
    return [name for name in wanted_columns(config, waveforms) if name in file.schema_arrow.names]


def wanted_columns(config: DataConfig, waveforms: bool = True) -> list[str]:
    """Return the columns that training uses if a table has them, peaks last."""
    averages = RESPONSE_COLUMNS if config.average_columns is None else config.average_columns
    names = [config.subject_column, *config.recording_columns, *config.static, *averages]
    if waveforms:
        names += ["signal", *PEAK_COLUMNS]
    return list(dict.fromkeys(names))


def _columns(present: Sequence[str], config: DataConfig, where: str, waveforms: bool = True) -> list[str]:
    """Return the columns to read from a table with the columns `present`.

    The peak columns are all or none; `RESPONSE_COLUMNS` that are not named elsewhere may be missing.
    """
    check_unique_names(present, where)
    if len(set(config.static)) < len(config.static):
        raise UserError(f"data.static: each column must be named once, but got {list(config.static)}")
    lists = {config.subject_column, *config.recording_columns, *config.static} & {"signal", *PEAK_COLUMNS}
    if lists:
        raise UserError(
            f"data: subject, recording and static columns must have one value per row, but got {sorted(lists)}"
        )
    labelled = not {*PEAK_COLUMNS}.isdisjoint(present)
    optional = {*RESPONSE_COLUMNS} - {*config.recording_columns, *(config.average_columns or ()), *config.static}
    if not labelled:
        optional |= {*PEAK_COLUMNS}
    wanted = [name for name in wanted_columns(config, waveforms) if name in present or name not in optional]
    for name in wanted:
        if name not in present:
            hint = did_you_mean(name, present) or f"; it has {sorted(present)}"
            if name in config.static:
                hint += "; data.static names the columns that condition the model"
            raise UserError(f"{where}: column {name!r} is missing{hint}")
    return wanted


def as_lists(column: pa.ChunkedArray, value_type: pa.DataType, length: int, where: str) -> pa.ChunkedArray:
    """Convert a column to fixed-size lists, after a check of the lengths of all rows that are not null.

    Raises:
        UserError: a wrong length, no lists, or values of another type.
    """
    column = list_column(column, f"{where}: must hold lists of {length} values")
    lengths = pc.list_value_length(column)
    wrong = pc.not_equal(lengths, length).fill_null(False)
    _refuse_rows(wrong, where, f"must hold {length} values, but got {pc.unique(lengths.filter(wrong)).to_pylist()}")
    try:
        return column.cast(pa.list_(value_type, length), safe=False)
    except pa.ArrowException as error:
        raise UserError(f"{where}: must hold lists of {value_type}, but got type {column.type}") from error


def _is_any(column: pa.ChunkedArray, *tests: Callable[[pa.DataType], bool]) -> bool:
    """Return whether the column's type passes one of `tests`."""
    return any(test(column.type) for test in tests)


def list_column(column: pa.ChunkedArray, expected: str) -> pa.ChunkedArray:
    """Convert a column of any kind of lists to one of plain lists.

    Raises:
        UserError: it has no lists; the message starts with `expected`.
    """
    column = decoded_column(column)
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        column = pa.chunked_array(map(_from_view, column.chunks), pa.large_list(column.type.value_type))
    if not _is_any(column, pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list):
        raise UserError(f"{expected}, but got type {column.type}")
    return column


def _from_view(views: pa.Array) -> pa.LargeListArray:
    """Convert list views to lists in the order of the rows; pyarrow 26 casts them with the last list cut."""
    lengths = pc.list_value_length(views).fill_null(0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, views.flatten(), mask=views.is_null())


def check_unique_names(names: Sequence[str], where: str) -> None:
    """Raise a UserError if two columns have the same name."""
    twice = sorted(repeated(names))
    if twice:
        raise UserError(f"{where}: column names must differ, but {twice} occur twice; rename or drop one")


def decoded_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column without extension types, dictionaries and run-end encoding."""
    if isinstance(column.type, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in column.chunks]
        return decoded_column(pa.chunked_array(storage, column.type.storage_type))
    if pa.types.is_dictionary(column.type):
        return decoded_column(column.cast(column.type.value_type))
    if pa.types.is_run_end_encoded(column.type):
        decoded = list(map(pc.run_end_decode, column.chunks))
        return decoded_column(pa.chunked_array(decoded, column.type.value_type))
    return column


def _plain(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    column = decoded_column(column)
    if pa.types.is_nested(column.type):
        raise UserError(f"{where}: must have one number or text per row, but got type {column.type}")
    return column


def _refuse_rows(bad: pa.ChunkedArray | NDArray[np.bool_], where: str, what: str) -> None:
    """Raise a UserError if rows are `bad`; it lists their numbers, counted from 0."""
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows):
        listed = ", ".join(map(str, rows[:MAX_LISTED_ROWS]))
        if len(rows) > MAX_LISTED_ROWS:
            listed += ", ..."
        raise UserError(f"{where}: {len(rows)} of {counted(len(bad), 'row')} {what}; the rows are {listed} (from 0)")
