"""MATLAB files, version 5 to 7 and version 7.3; nothing in them is ever executed.

Three layouts: the digest of the SHIPM recordings (struct array `ABR`), our own export (struct `abr`), and any other
through a mapping, whose names are variables or `struct.field`. There a vector is one waveform, and a cell or a struct
array holds one waveform an element.

Legend: N waveforms, T samples.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.columns import MAPPING_NAMES, note_unread, recordings_of, renamed, units_of
from hcvae.importers.foreign import as_file_error
from hcvae.importers.matlab_hdf5 import read_version_7_3
from hcvae.importers.matlab_orientation import waveforms_in_rows
from hcvae.importers.matlab_version_5 import read_version_5
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

VERSION_5, VERSION_7_3 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
RIGHT = "a whole MATLAB file that holds waveforms; save it again"
SHIPM_BAND_HZ = (100.0, 1500.0)
SHIPM_FIELDS = {"intensity", "sweeps", "sampP", "p"}
SHIPM_RECORDED_SWEEPS = (
    500,
    1000,
    2000,
)  # rows with other numbers are mixtures that the digest's authors made of these


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file begins as MATLAB's do."""
    return head.startswith((VERSION_5, VERSION_7_3))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """The waveforms of the file.

    Raises:
        FileError: a damaged file, or one whose fields do not fit together.
        UserError: an unknown layout without a mapping, or a mapping that names what is not there.
    """
    with as_file_error(path, RIGHT):
        variables = _variables(path)
        if not options.mapping and _is_shipm(variables.get("ABR")):
            yield from _read_shipm(variables["ABR"], variables.get("time"), path)
            return
        exported = variables.get("abr")
        if isinstance(exported, dict) and not options.mapping:
            columns = _columns(_flat(exported), options, path)
        else:
            columns = _columns(_flat(variables), options, path)
            columns["signal"] = waveforms_in_rows(columns, options.mapping.get("layout"), path)
        yield from recordings_of(columns | units_of(options.mapping), path)


def _columns(fields: Mapping[str, Any], options: ReadOptions, path: Path) -> dict[str, Any]:
    """Variables by our names."""
    mapping = {name: value for name, value in options.mapping.items() if name != "layout"}
    known = renamed(fields, mapping, path)
    if "signal" not in known:
        expected = "the name of the waveforms, by a mapping of signal"
        raise FileError(path, "variables", f"{sorted(fields)[:12]}", expected)
    columns = {column: fields[name] if isinstance(name, str) else name for column, name in known.items()}
    for column in [column for column, value in columns.items() if value is None]:
        if column in ("signal", *mapping):
            expected = "numbers, text or cells; convert objects such as strings and tables in MATLAB, and save again"
            raise FileError(path, f"variable {known[column]!r}", "an object, or complex or sparse numbers", expected)
        del columns[column]
    note_unread(fields, {str(known[column]) for column in columns}, options, "variables")
    return columns


def _is_shipm(variable: Any) -> bool:
    return isinstance(variable, list) and all(
        isinstance(level, dict) and level.keys() >= SHIPM_FIELDS for level in variable
    )


def _variables(path: Path) -> dict[str, Any]:
    """Variables as arrays, text, lists (cells and struct arrays) and dicts (structs)."""
    with path.open("rb") as file:
        is_version_7_3 = file.read(len(VERSION_7_3)) == VERSION_7_3
    return read_version_7_3(path) if is_version_7_3 else read_version_5(path)


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by name, those of structs (and, row by row, of struct arrays) as `struct.field`."""
    fields: dict[str, Any] = {}
    for name, value in variables.items():
        if isinstance(value, dict):
            fields |= {f"{name}.{field}": content for field, content in value.items()}
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            common = set.intersection(*(set(one) for one in value))
            fields |= {f"{name}.{field}": _stacked([one[field] for one in value]) for field in sorted(common)}
        else:
            fields[name] = value
    return fields


def _stacked(values: list[Any]) -> Any:
    """One value a struct as a vector, one waveform a struct as a list of vectors."""
    rows = [np.ravel(value) if isinstance(value, np.ndarray) else value for value in values]
    if all(isinstance(row, np.ndarray) for row in rows) and len({len(row) for row in rows}) == 1:
        return rows if len(rows[0]) > 1 else np.concatenate(rows)
    return [row[0] if isinstance(row, np.ndarray) and len(row) == 1 else row for row in rows]


def _read_shipm(levels: list[dict[str, Any]], time: NDArray[Any] | None, path: Path) -> Iterator[Recording]:
    """One level a struct: intensity in dB, averages `p` in uV, their sweeps, and the sampling period in ms.

    Wang et al. (2021), iScience 24:103285, doi 10.1016/j.isci.2021.103285.
    """
    for number, level in enumerate(levels):
        signal, sweeps, period = level["p"], np.ravel(level["sweeps"]), np.ravel(level["sampP"])
        if not isinstance(signal, np.ndarray) or signal.ndim != 2 or len(sweeps) != len(signal) or len(period) != 1:
            raise FileError(
                path, f"ABR({number + 1})", "p, sweeps and sampP of other sizes", "one of sweeps a row of p"
            )
        rows = np.flatnonzero(np.isin(sweeps, SHIPM_RECORDED_SWEEPS))
        columns = {
            "signal": signal[rows],
            "n_averages": sweeps[rows],
            "recording_index": np.arange(len(rows)) + 1,
            "stimulus_level_db": np.ravel(level["intensity"]),
            "sampling_rate_hz": 1e3 / period,
            "start_ms": 0.0 if time is None else np.ravel(time)[:1],
        }
        yield from recordings_of(columns, path, usual_band_hz=SHIPM_BAND_HZ)


FORMAT = Format(
    name="matlab", title="MATLAB .mat", recognises=recognises, read=read, mapping_names=MAPPING_NAMES | {"layout"}
)
