"""Files in, one checked waveform table out, with its provenance; files that cannot be read do not stop the rest."""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import hcvae
from hcvae.data.table import PEAK_COLUMNS, WAVES, waveform_schema
from hcvae.errors import UserError
from hcvae.importers.averages import Blocks, Row, row_of, with_noise_of_halves
from hcvae.importers.columns import TYPES
from hcvae.importers.pseudonyms import pseudonym
from hcvae.importers.recording import FileError, ReadOptions, Recording, Value
from hcvae.importers.registry import Format, format_named, recognise
from hcvae.importers.steps import LeftOut, Steps, on_grid

METADATA = b"hcvae_import"
"""Key of the provenance, JSON, in the table's metadata."""
LETTERS = {
    "ear": {"l": "L", "left": "L", "r": "R", "right": "R"},
    "sex": {"f": "F", "female": "F", "m": "M", "male": "M"},
}


@dataclass(frozen=True)
class Wishes:
    """What the user says, besides the files."""

    steps: Steps = field(default_factory=Steps)
    format: str | None = None
    """Name of the format of all files; None: each is recognised."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    """Columns of one value for all waveforms, in place of what the files say."""
    subject: str | None = None
    """Identity of the one subject of all files."""
    max_residual_noise_uv: float | None = None
    max_artifact_share: float | None = None
    licence: str | None = None
    """Of the recordings, for the cards of models that are trained on them."""


@dataclass
class FileResult:
    """What became of one file."""

    path: Path
    format: str | None = None
    sha256: str = ""
    companions: list[str] = field(default_factory=list)
    """Hashes of the files that are read with it."""
    recordings: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Recordings by the reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """What of the file was not used or not understood, and how often."""
    names_subject: bool = True
    error: str | None = None


def files_in(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files to import, those of folders in the order of their names, and the files that are read with others.

    Hidden files, links and folders within a folder are passed over.

    Raises:
        UserError: a path that is not there, or a folder without files.
    """
    files, within = [], set()
    for path in given:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.is_file() and not p.is_symlink() and p.name[0] != ".")
            if not found:
                raise UserError(f"{path}: a folder without files; name one that holds recordings")
            files += found
            within.update(found)
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path}: no such file; name the files, or the folder, of your recordings")
    companions = {companion for path in files for companion in _companions(path)} & within
    return [path for path in files if path not in companions], sorted(companions)


def read_file(path: Path, wishes: Wishes) -> FileResult:
    """Rows of one file; an error is kept in the result, as the other files are to be read nevertheless."""
    result = FileResult(path)
    try:
        known = format_named(wishes.format) if wishes.format else recognise(path)
        result.format = known.name
        result.sha256 = _sha256(path)
        result.companions = [_sha256(companion) for companion in known.companions(path)]
        _read(known, wishes, result)
    except UserError as error:
        result.error, result.rows = str(error), []
    return result


def _read(known: Format, wishes: Wishes, result: FileResult) -> None:
    blocks, rows = Blocks(), []
    for recording in known.read(result.path, ReadOptions(wishes.mapping, result.notes, frozenset(wishes.values))):
        result.recordings += 1
        values = _values(recording, wishes, result.path)
        result.names_subject &= recording.subject is not None or wishes.subject is not None
        try:
            _check_artifacts(values, wishes)
            row = row_of(recording, on_grid(recording, wishes.steps), values)
        except LeftOut as reason:
            result.left_out[str(reason)] += 1
            continue
        block_sweeps = wishes.steps.blocks_of(recording)
        rows += [row] if block_sweeps is None else list(blocks.add(row, block_sweeps))
    if blocks.unused:
        result.left_out["too few sweeps for a last block (--block-sweeps)"] += blocks.unused
    for row in with_noise_of_halves(rows):
        noise = row.values.get("residual_noise_uv")
        if (
            wishes.max_residual_noise_uv is not None
            and isinstance(noise, float)
            and noise > wishes.max_residual_noise_uv
        ):
            result.left_out[f"residual noise above {wishes.max_residual_noise_uv:g} uV"] += 1
        else:
            result.rows.append(row)


def table_of(results: Sequence[FileResult], wishes: Wishes, key: bytes) -> pa.Table:
    """The waveform table of the rows of all files, in their order, with the provenance in its metadata.

    A file that names no subject counts as a subject of its own.

    Raises:
        UserError: no rows.
    """
    rows = [(result, row) for result in results for row in result.rows]
    if not rows:
        raise UserError("no waveform is left of these files; see the reasons above")
    numbers: Counter[str] = Counter()
    columns: dict[str, list[Any]] = {name: [] for name in TYPES}
    for result, row in rows:
        identity = wishes.subject or row.subject or f"file {result.sha256}"
        numbers[result.sha256] += 1
        values = dict(row.values) | {
            "record_id": f"{result.sha256[:12]}-{numbers[result.sha256]}",
            "subject_id": pseudonym(identity, key),
        }
        for name, column in columns.items():
            column.append(values.get(name))
    labelled = any(row.peaks is not None for _, row in rows)
    grid = wishes.steps.grid
    schema = waveform_schema(TYPES, grid.samples, grid.rate_hz, peaks=labelled)
    arrays = {name: pa.array(column, TYPES[name]) for name, column in columns.items()}
    signals = np.concatenate([row.signal_uv for _, row in rows]).astype(np.float32)
    arrays["signal"] = pa.FixedSizeListArray.from_arrays(signals, grid.samples)
    if labelled:
        arrays |= _peak_columns([row for _, row in rows])
    metadata = schema.metadata | {METADATA: _provenance(results, wishes).encode()}
    if wishes.licence:
        metadata |= {"licence": wishes.licence}
    return pa.table(arrays, schema=schema.with_metadata(metadata))


def _values(recording: Recording, wishes: Wishes, path: Path) -> dict[str, Value]:
    """Columns of a recording, each of its type."""
    band = wishes.steps.band_of(recording)
    values: dict[str, Value] = {"half": 0, "native_rate_hz": recording.sampling_rate_hz, **recording.values}
    if band is not None:
        values |= {"highpass_hz": band[0], "lowpass_hz": band[1]}
    return {
        name: column_value(name, value, path) for name, value in {**values, **wishes.values}.items() if name in TYPES
    }


def column_value(name: str, value: Value, where: object) -> Value:
    """`value` as the type of the column `name`; the letters L, R and F, M for ear and sex.

    Raises:
        UserError: it has another type; what it is, is not repeated, as it may be a name.
    """
    if value is None:
        return None
    kind = TYPES[name]
    if name in LETTERS:
        letter = LETTERS[name].get(str(value).strip().lower())
        if letter is None:
            raise UserError(f"{where}: {name}: got another text; must be one of {', '.join(sorted(LETTERS[name]))}")
        return letter
    if pa.types.is_string(kind):
        return str(value)
    if isinstance(value, str) or not np.isfinite(value):
        raise UserError(f"{where}: {name}: got text; must be a number, or empty")
    if pa.types.is_integer(kind):
        if value != int(value) or abs(value) > np.iinfo(kind.to_pandas_dtype()).max:
            raise UserError(f"{where}: {name}: got {value:g}; must be a whole number of {kind}")
        return int(value)
    return float(value)


def _check_artifacts(values: Mapping[str, Value], wishes: Wishes) -> None:
    artifacts, averages = values.get("n_artifacts"), values.get("n_averages")
    if wishes.max_artifact_share is None or not isinstance(artifacts, int) or not isinstance(averages, int):
        return
    sweeps = averages * (2 if values.get("half") in (1, 2) else 1)
    if artifacts > wishes.max_artifact_share * sweeps:
        raise LeftOut(f"artefacts in more than {wishes.max_artifact_share:.0%} of the sweeps")


def _peak_columns(rows: Sequence[Row]) -> dict[str, pa.Array]:
    latency, amplitude = np.full((2, len(rows), len(WAVES)), np.nan, np.float32)
    valid = np.zeros((len(rows), len(WAVES)), bool)
    for number, row in enumerate(rows):
        if row.peaks is not None:
            latency[number], amplitude[number], valid[number] = (
                row.peaks.latency_ms,
                row.peaks.amplitude_uv,
                row.peaks.valid,
            )
    columns = zip(PEAK_COLUMNS, (latency, amplitude, valid), strict=True)
    return {name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(WAVES)) for name, values in columns}


def _provenance(results: Sequence[FileResult], wishes: Wishes) -> str:
    """Hashes, options and versions; no name of a file or a subject."""
    options = asdict(wishes) | {"subject": None if wishes.subject is None else "given", "mapping": dict(wishes.mapping)}
    libraries = {name: version(name) for name in ("numpy", "scipy", "pyarrow")}
    files = [
        {"sha256": result.sha256, "format": result.format, "companions": result.companions, "rows": len(result.rows)}
        for result in results
        if result.rows
    ]
    versions = {"hcvae": hcvae.__version__, "python": platform.python_version(), **libraries}
    return json.dumps({"files": files, "options": options, "versions": versions}, sort_keys=True)


def _companions(path: Path) -> list[Path]:
    try:
        return recognise(path).companions(path)
    except FileError:
        return []  # read_file says what is wrong with it


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
