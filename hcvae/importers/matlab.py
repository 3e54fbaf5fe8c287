"""MATLAB files, version 5 to 7 and version 7.3; no content is ever executed.

Three layouts: the published SHIPM recordings (struct array `ABR`), our own export (struct `abr`), and any other through
a mapping, whose names are variables or `struct.field`. In the last a vector is one waveform, and a cell or a struct
array has one waveform in each element.

Legend: N waveforms, T samples.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.columns import MAPPING_NAMES, axis_units_of, columns_in_file, note_unread, recordings_of
from hcvae.importers.foreign import as_file_error
from hcvae.importers.matlab_hdf5 import read_version_7_3
from hcvae.importers.matlab_orientation import waveforms_in_rows
from hcvae.importers.matlab_version_5 import read_version_5
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

VERSION_5 = b"MATLAB 5.0 MAT-file"
VERSION_7_3 = b"MATLAB 7.3 MAT-file"
EXPECTED = "a complete MATLAB file with waveforms; save it again"
SHIPM_BAND_HZ = (100.0, 1500.0)
SHIPM_FIELDS = {"intensity", "sweeps", "sampP", "p"}
SHIPM_RECORDED_SWEEPS = (500, 1000, 2000)
"""Sweeps of the recorded rows; the authors computed rows with other numbers from these."""


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file begins like a MATLAB file."""
    return head.startswith((VERSION_5, VERSION_7_3))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield the waveforms of the file.

    Raises:
        FileError: a damaged file, or one whose fields do not fit together.
        UserError: an unknown layout without a mapping, or a mapping that names something that is not there.
    """
    with as_file_error(path, EXPECTED):
        variables = _variables(path)
        if not options.mapping and _is_shipm(variables.get("ABR")):
            yield from _read_shipm(variables["ABR"], variables.get("time"), path)
            return
        exported = variables.get("abr")
        if isinstance(exported, dict) and not options.mapping:
            columns = _columns(_flat(exported), options, path)
        else:
            columns = _columns(_flat(variables), options, path)
            stored = columns["signal"]
            columns["signal"] = waveforms_in_rows(columns, options.mapping.get("layout"), path)
            if isinstance(stored, list) and len(stored) > len(columns["signal"]):
                options.note(f"{len(stored) - len(columns['signal'])} empty cells of {len(stored)} hold no waveform")
        columns |= axis_units_of(options.mapping)
        yield from recordings_of(columns, path, options.mapping.get("unit"))


def _columns(fields: Mapping[str, Any], options: ReadOptions, path: Path) -> dict[str, Any]:
    """Return our columns of the variables.

    Raises:
        FileError: no waveforms, or a needed variable whose type cannot be read.
        UserError: a mapping that names something that is not there.
    """
    mapping = options.mapping_without("layout")
    known = columns_in_file(fields, mapping, path)
    if "signal" not in known:
        expected = "the name of the waveforms, by a mapping of signal"
        raise FileError(path, "variables", f"{sorted(fields)[:12]}", expected)
    columns: dict[str, Any] = {}
    read = set()
    for column, name in known.items():
        value: Any = name
        if isinstance(name, str):
            value = fields[name]
        if value is not None:
            columns[column] = value
            read.add(str(name))
        elif column in ("signal", *mapping):
            expected = "numbers, text or cells; convert objects such as strings and tables in MATLAB, and save again"
            raise FileError(path, f"variable {name!r}", "an object, or complex or sparse numbers", expected)
    note_unread(fields, read, options, "variables")
    return columns


def _is_shipm(variable: Any) -> bool:
    if not isinstance(variable, list):
        return False
    return all(isinstance(level, dict) and level.keys() >= SHIPM_FIELDS for level in variable)


def _variables(path: Path) -> dict[str, Any]:
    """Return the variables as arrays, text, lists (cells and struct arrays) and dicts (structs)."""
    with path.open("rb") as file:
        is_version_7_3 = file.read(len(VERSION_7_3)) == VERSION_7_3
    if is_version_7_3:
        return read_version_7_3(path)
    return read_version_5(path)


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables by name, and the fields of structs and struct arrays as `struct.field`."""
    fields: dict[str, Any] = {}
    for name, value in variables.items():
        if isinstance(value, dict):
            for field, content in value.items():
                fields[f"{name}.{field}"] = content
        elif isinstance(value, list) and set(map(type, value)) == {dict}:
            common = set.intersection(*map(set, value))
            for field in sorted(common):
                fields[f"{name}.{field}"] = _stacked([struct[field] for struct in value])
        else:
            fields[name] = value
    return fields


def _stacked(values: list[Any]) -> Any:
    """Return the values of one field in a struct array.

    Arrays of one number each become a vector, arrays of equal lengths a list of vectors, other values a list.
    """
    rows = list(map(_raveled, values))
    if set(map(type, rows)) == {np.ndarray} and len(set(map(len, rows))) == 1:
        if len(rows[0]) > 1:
            return rows
        return np.concatenate(rows)
    return list(map(_unwrapped, rows))


def _raveled(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ravel(value)
    return value


def _unwrapped(row: Any) -> Any:
    if isinstance(row, np.ndarray) and len(row) == 1:
        return row[0]
    return row


def _read_shipm(levels: list[dict[str, Any]], time: NDArray[Any] | None, path: Path) -> Iterator[Recording]:
    """Yield the recordings of structs of one level: intensity in dB, averages `p` in uV, sweeps, and period in ms.

    Wang et al. (2021), iScience 24:103285, doi 10.1016/j.isci.2021.103285.
    """
    start_ms: Any = 0.0
    if time is not None:
        start_ms = np.ravel(time)[:1]
    for number, level in enumerate(levels):
        signal = level["p"]
        sweeps = np.ravel(level["sweeps"])
        period = np.ravel(level["sampP"])
        if not isinstance(signal, np.ndarray) or signal.ndim != 2 or len(sweeps) != len(signal) or len(period) != 1:
            where = f"ABR({number + 1})"
            raise FileError(path, where, "p, sweeps and sampP of other sizes", "one of sweeps a row of p")
        rows = np.flatnonzero(np.isin(sweeps, SHIPM_RECORDED_SWEEPS))
        columns = {
            "signal": signal[rows],
            "n_averages": sweeps[rows],
            "recording_index": np.arange(len(rows)) + 1,
            "stimulus_level_db": np.ravel(level["intensity"]),
            "sampling_rate_hz": 1e3 / period,
            "start_ms": start_ms,
        }
        yield from recordings_of(columns, path, usual_band_hz=SHIPM_BAND_HZ)


FORMAT = Format(
    name="matlab", title="MATLAB .mat", recognises=recognises, read=read, mapping_names=MAPPING_NAMES | {"layout"}
)
