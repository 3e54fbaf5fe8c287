"""EDF+: the waveforms in sequence in the signal ABR, one per data record, each with an annotation.

The annotation is at the start of the record and contains the scalar columns as a JSON object; labelled peaks are left
out. EDF+ stores 16-bit integers: the largest absolute value A of the file is step 32767, so that the error of a sample
is at most A / 65534 (1.5e-5 of A).

Format: Kemp & Olivan (2003), Clin. Neurophysiol. 114:1755, doi 10.1016/S1388-2457(03)00123-8.
"""

import datetime as dt
import json
import math
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hcvae.atomic import atomic_write
from hcvae.data.export.contents import Contents
from hcvae.errors import UserError

START = dt.date(1985, 1, 1)  # a constant, the earliest in EDF, so that equal tables give equal files
FIELD_CHARACTERS = 8  # length of a number in the header
MAX_RECORD_BYTES = 61_440
TIMEKEEPING_BYTES = 64  # size of the two times in each record's annotations
MAX_UV = 9_999_999
MIN_UV = 1e-4  # a smaller number needs more characters than its field has
STEPS = 32_767


def write_edf(table: pa.Table, path: Path) -> None:
    """Write a waveform table as EDF+; needs the package edfio.

    Raises:
        UserError: samples that are not finite or exceed the range of the header; a record longer than 61,440 bytes, or
            whose duration in s has more than 8 characters; or the file cannot be written.
    """
    from edfio import Edf, EdfAnnotation, EdfSignal, Recording

    contents = Contents.of(table, str(path))
    duration_s = _record_duration_s(contents, path)
    limit_uv = _limit_uv(contents, path)
    texts = _texts(contents)
    _check_record_size(texts, contents.signals.shape[1], path)
    signal = EdfSignal(
        contents.signals.ravel().astype(np.float64),
        contents.sampling_rate_hz,
        label="ABR",
        physical_dimension="uV",
        physical_range=(-limit_uv, limit_uv),
        digital_range=(-STEPS, STEPS),
    )
    edf = Edf(
        [signal],
        recording=Recording(startdate=START),
        starttime=dt.time(0, 0, 0),
        data_record_duration=duration_s,
        annotations=list(map(EdfAnnotation, _starts_s(len(texts), duration_s), repeat(None), texts)),
    )
    with atomic_write(path) as temporary:
        edf.write(temporary)


def _record_duration_s(contents: Contents, path: Path) -> float:
    samples = contents.signals.shape[1]
    rate_hz = contents.sampling_rate_hz
    duration_s: float = samples / rate_hz
    if len(str(duration_s)) > FIELD_CHARACTERS:
        raise UserError(
            f"{path}: EDF has {FIELD_CHARACTERS} characters for the duration of a waveform, but got {duration_s!r} s "
            f"({samples} samples at {rate_hz!r} Hz); write .parquet, .csv or .mat, or resample"
        )
    return duration_s


def _texts(contents: Contents) -> list[str]:
    """Return the scalar columns of each row as JSON."""
    texts = []
    for row in contents.scalars.to_pylist():
        texts.append(json.dumps(_without_nan(row), ensure_ascii=False, default=str))
    return texts


def _starts_s(records: int, duration_s: float) -> list[float]:
    """Return the start of each record.

    None is a rounding error before the end of the previous record: edfio would assign its annotation to that one.
    """
    starts = np.arange(records) * duration_s
    starts[1:] = np.maximum(starts[1:], starts[:-1] + duration_s)
    return list(map(float, starts))


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON lacks, by null."""
    result = dict(row)
    for name, value in row.items():
        if isinstance(value, float) and math.isnan(value):
            result[name] = None
    return result


def _limit_uv(contents: Contents, path: Path) -> float:
    """Return the largest absolute value, rounded up to the digits that fit into the header with a minus sign."""
    largest = float(np.abs(contents.signals).max())
    if not largest <= MAX_UV:  # also for NaN
        raise UserError(f"{path}: EDF holds finite values up to {MAX_UV:,} uV, but got {largest:g}")
    decimals = max(0, FIELD_CHARACTERS - 2 - len(str(int(largest))))
    scale = 10.0**decimals
    return max(MIN_UV, math.ceil(largest * scale) / scale)


def _check_record_size(texts: list[str], samples: int, path: Path) -> None:
    longest = max(range(len(texts)), key=lambda row: len(texts[row].encode()))
    size = 2 * samples + len(texts[longest].encode()) + TIMEKEEPING_BYTES
    if size > MAX_RECORD_BYTES:
        raise UserError(
            f"{path}: an EDF record must not exceed {MAX_RECORD_BYTES:,} bytes, but row {longest} (from 0) needs "
            f"{size:,} with its columns; leave out long texts, or write .parquet, .csv or .mat"
        )
