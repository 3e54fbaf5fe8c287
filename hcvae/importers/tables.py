"""Arrow tables (Parquet, Arrow IPC, Feather): our own waveform tables, and other tables through a mapping.

Legend: N waveforms, T samples.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hcvae.data.table import PEAK_COLUMNS, WAVES, check_unique_names
from hcvae.importers.columns import (
    MAPPING_NAMES,
    axis_units_of,
    check_samples,
    columns_in_file,
    note_unread,
    recordings_of,
    sample_columns,
    with_times,
)
from hcvae.importers.foreign import as_file_error
from hcvae.importers.provenance import kept_subject
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

PARQUET = b"PAR1"
ARROW = b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""Begins each message of an Arrow IPC stream."""
BATCH_ROWS = 256
MAX_SAMPLES = 2**17
EXPECTED = "a complete Parquet, Arrow IPC or Feather (version 2) file"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file begins as Parquet, or as an Arrow file or stream; Feather version 2 is an Arrow file."""
    return head.startswith((PARQUET, ARROW, ARROW_STREAM))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield the waveforms of the table, batch by batch; subjects of an imported table keep their pseudonyms.

    Raises:
        FileError: a damaged file, or columns that hold no waveforms.
        UserError: a mapping that names something that is not there.
    """
    first = 0
    with as_file_error(path, EXPECTED):
        for batch, metadata in _batches(path):
            if not first and b"licence" in metadata:
                options.note("the licence in the table's metadata is not copied; state it with --licence")
            columns = _columns(batch, metadata, options, path)
            for recording in recordings_of(columns, path, options.mapping.get("unit"), first):
                yield replace(recording, subject=kept_subject(recording, metadata))
            first += batch.num_rows
            if first:
                options = replace(options, notes=Counter())  # all batches have the same columns: note them once


def _batches(path: Path) -> Iterator[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    """Yield the batches of the table, each with the table's metadata."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET:
        with pq.ParquetFile(path, memory_map=True) as parquet:
            _check_lengths(parquet.schema_arrow, path)
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
                yield batch, parquet.schema_arrow.metadata or {}
        return
    if start == ARROW_STREAM:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                yield from _pieces(batch, stream.schema)
        return
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as arrow:
        for number in range(arrow.num_record_batches):
            yield from _pieces(arrow.get_batch(number), arrow.schema)


def _pieces(batch: pa.RecordBatch, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, dict[bytes, bytes]]]:
    """Yield a batch of an Arrow file in pieces, after a check of its content."""
    batch.validate(full=True)
    for first in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(first, BATCH_ROWS), schema.metadata or {}


def _check_lengths(schema: pa.Schema, path: Path) -> None:
    """Refuse rows that are too long for a batch to fit in memory: a few bytes can encode many equal values."""
    for field in schema:
        if pa.types.is_fixed_size_list(field.type) and field.type.list_size > MAX_SAMPLES:
            expected = f"at most {MAX_SAMPLES} samples a waveform"
            raise FileError(path, f"column {field.name!r}", f"lists of {field.type.list_size} values", expected)


def _columns(batch: pa.RecordBatch, metadata: dict[bytes, bytes], options: ReadOptions, path: Path) -> dict[str, Any]:
    check_unique_names(batch.schema.names, str(path))
    pattern = options.mapping.get("signal", "")
    samples = sample_columns(batch.schema.names, options.mapping, pattern)
    check_samples(samples, pattern, path)
    mapping = dict(options.mapping)
    if samples:
        mapping.pop("signal", None)
    known = columns_in_file(batch.schema.names, mapping, path)
    note_unread(batch.schema.names, {*samples, *map(str, known.values())}, options)
    columns: dict[str, Any] = {}
    for name, at in known.items():
        columns[name] = at
        if isinstance(at, str):
            columns[name] = _values(batch[at], name, path)
    unit = _unit(batch.schema, [*samples, str(known.get("signal"))])
    if unit is not None:
        columns.setdefault("unit", unit)
    columns |= axis_units_of(options.mapping)
    stored = metadata.get(b"sampling_rate_hz")
    if stored is not None and "sampling_rate_hz" in columns:
        options.note("the sampling rate of the mapping, or of a column, replaces that of the metadata")
    elif stored is not None:
        columns["sampling_rate_hz"] = stored.decode(errors="replace")
    if samples:
        columns["signal"] = np.column_stack([_samples(batch[name], name, path) for name in samples])
        columns = with_times(columns, samples, pattern)
    return columns


def _unit(schema: pa.Schema, names: Sequence[str]) -> str | None:
    """Return the unit in the metadata of the first of the columns that has one."""
    for name in names:
        if name in schema.names:
            unit: bytes = (schema.field(name).metadata or {}).get(b"unit", b"")
            if unit:
                return unit.decode(errors="replace")
    return None


def _samples(array: pa.Array, name: str, path: Path) -> Any:
    """Return a column that holds one sample of each waveform."""
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        expected = "numbers, one sample a row; narrow the pattern of signal, or map the column to something else"
        raise FileError(path, f"column {name!r}", f"values of type {array.type}", expected)
    return array.to_numpy(zero_copy_only=False)


def _values(array: pa.Array, name: str, path: Path) -> Any:
    """Return a column as a list or a vector, or as a matrix if it holds lists."""
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        return array.to_numpy(zero_copy_only=False)
    if not pa.types.is_nested(array.type):
        return array.to_pylist()
    if not _is_list(array.type):
        raise FileError(path, f"column {name!r}", f"values of type {array.type}", "numbers, text or lists of numbers")
    if name in PEAK_COLUMNS and array.null_count:
        return np.array([row or [math.nan] * len(WAVES) for row in array.to_pylist()])
    lengths = pc.unique(pc.list_value_length(array)).to_pylist()
    if len(lengths) != 1 or lengths == [None]:
        raise FileError(
            path, f"column {name!r}", f"lists of lengths {lengths[:5]}", "one list for each row, all of one length"
        )
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)


def _is_list(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return True
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


FORMAT = Format(
    name="table",
    title="Parquet, Arrow IPC, Feather",
    recognises=recognises,
    read=read,
    mapping_names=MAPPING_NAMES,
)
