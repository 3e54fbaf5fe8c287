"""Files in, one checked waveform table out, with its provenance; files that cannot be read do not stop the rest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hcvae.data.table import PEAK_COLUMNS, WAVES, waveform_schema
from hcvae.digests import sha256_of_file
from hcvae.errors import UserError
from hcvae.importers.averages import Blocks, Row, row_of, with_noise_of_halves
from hcvae.importers.channels import one_channel
from hcvae.importers.columns import TYPES
from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.provenance import METADATA, kept_record_id, kept_subject, provenance
from hcvae.importers.pseudonyms import pseudonym
from hcvae.importers.recording import Pseudonym, ReadOptions, Recording, Value
from hcvae.importers.registry import Format, format_named, recognise
from hcvae.importers.steps import USUAL, RecordingSkipped, Steps, on_grid
from hcvae.importers.time_axis import check_rate
from hcvae.importers.values import values_of


def read_file(path: Path, options: ImportOptions) -> FileResult:
    """Rows of one file; an error is kept in the result, as the other files are to be read nevertheless."""
    result = FileResult(path)
    try:
        known = format_named(options.format) if options.format else recognise(path)
        result.format = known.name
        result.sha256 = sha256_of_file(path)
        result.companions = [sha256_of_file(companion) for companion in known.companions(path)]
        _read(known, options, result)
    except UserError as error:
        result.error, result.rows = str(error), []
    except OSError as error:
        result.error, result.rows = f"{path}: cannot be read: {error.strerror}; copy it from the device again", []
    return result


def _read(known: Format, options: ImportOptions, result: FileResult) -> None:
    blocks, rows = Blocks(), []
    for recording in _recordings(known, options, result):
        try:
            _check_artifacts(recording.values, options, result)
            row = row_of(recording, on_grid(recording, options.steps), recording.values)
        except RecordingSkipped as reason:
            result.left_out[str(reason)] += 1
            continue
        block_sweeps = options.steps.blocks_of(recording)
        rows += [row] if block_sweeps is None else list(blocks.add(row, block_sweeps))
    if blocks.unused:
        result.left_out["too few sweeps for a last block (--block-sweeps)"] += blocks.unused
    result.rows += [row for row in with_noise_of_halves(rows) if not _is_too_noisy(row, options, result)]


def _recordings(known: Format, options: ImportOptions, result: FileResult) -> Iterator[Recording]:
    """The recordings of a file with the columns that they will have, as the options say; counted."""
    for name in sorted(options.mapping.keys() - known.mapping_names):
        result.notes[f"--map {name} has no meaning for files of format {known.name}"] += 1
    choice = known.channel_choice if known.channel_choice in known.mapping_names else None
    mapping = {name: value for name, value in options.mapping.items() if name in known.mapping_names}
    wanted = mapping.get(choice or "", "").rpartition("=")[2] or None
    found = known.read(result.path, ReadOptions(mapping, result.notes, frozenset(options.values)))
    subjects = set()
    for recording in one_channel(found, choice or "signal", wanted, result.path):
        check_rate(recording.sampling_rate_hz, result.path, "time_unit" in known.mapping_names)
        result.recordings += 1
        result.names_subject &= recording.subject is not None or options.subject is not None
        subjects.add(recording.subject)
        result.channels.add(recording.channel)
        band_hz = options.steps.band_of(recording)
        subject = recording.subject if isinstance(recording.subject, Pseudonym) else kept_subject(recording, {})
        values = values_of(recording, options.values, band_hz, result.path)
        recording = replace(recording, values=values, subject=subject)
        _note_averaging(recording, options.steps, result)
        yield recording
    if options.subject is not None and len(subjects) > 1:
        result.notes[f"--subject replaces the {len(subjects)} subjects of the file"] += 1


def _note_averaging(recording: Recording, steps: Steps, result: FileResult) -> None:
    if steps.blocks_of(recording) is not None:
        result.used_options |= {"--block-sweeps", "--reject-before-uv", "--reject-after-uv"}
    elif steps.block_sweeps != USUAL:
        known = recording.values.get("n_averages") is not None
        right = "they are averages of as many sweeps" if known else "for single sweeps add --value n_averages=1"
        result.notes[f"recordings that --block-sweeps leaves as they are: {right}"] += 1


def _check_artifacts(values: Mapping[str, Value], options: ImportOptions, result: FileResult) -> None:
    artifacts, averages = values.get("n_artifacts"), values.get("n_averages")
    if options.max_artifact_share is None:
        return
    if not isinstance(artifacts, int) or not isinstance(averages, int):
        result.notes["recordings without a number of artefacts or sweeps, which --max-artifact-share keeps"] += 1
        return
    result.used_options.add("--max-artifact-share")
    sweeps = averages * (2 if values.get("half") in (1, 2) else 1)
    if artifacts > options.max_artifact_share * sweeps:
        raise RecordingSkipped(f"artefacts in more than {options.max_artifact_share:.0%} of the sweeps")


def _is_too_noisy(row: Row, options: ImportOptions, result: FileResult) -> bool:
    noise = row.values.get("residual_noise_uv")
    if options.max_residual_noise_uv is None:
        return False
    if not isinstance(noise, float):
        result.notes["waveforms without an estimate of noise, which --max-residual-noise-uv keeps"] += 1
        return False
    result.used_options.add("--max-residual-noise-uv")
    if noise <= options.max_residual_noise_uv:
        return False
    result.left_out[f"residual noise above {options.max_residual_noise_uv:g} uV"] += 1
    return True


def table_of(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> pa.Table:
    """The waveform table of the rows of all files, in their order, with the provenance in its metadata.

    A file that names no subject counts as a subject of its own. Subjects and records of tables that an earlier import
    wrote keep their pseudonyms and identifiers.

    Raises:
        UserError: no rows.
    """
    rows = [(result, row) for result in results for row in result.rows]
    if not rows:
        raise UserError("no waveform is left of these files; see the reasons above")
    numbers: Counter[str] = Counter()
    columns: dict[str, list[Any]] = {name: [] for name in TYPES}
    for result, row in rows:
        identity = options.subject or row.subject or f"file {result.sha256}"
        numbers[result.sha256] += 1
        values = dict(row.values) | {
            "record_id": kept_record_id(row.record_id) or f"{result.sha256[:12]}-{numbers[result.sha256]}",
            "subject_id": identity if isinstance(identity, Pseudonym) else pseudonym(identity, key),
        }
        for name, column in columns.items():
            column.append(values.get(name))
    labelled = any(row.peaks is not None for _, row in rows)
    grid = options.steps.grid
    schema = waveform_schema(TYPES, grid.samples, grid.rate_hz, peaks=labelled)
    arrays = {name: pa.array(column, TYPES[name]) for name, column in columns.items()}
    signals = np.concatenate([row.signal_uv for _, row in rows]).astype(np.float32)
    arrays["signal"] = pa.FixedSizeListArray.from_arrays(signals, grid.samples)
    if labelled:
        arrays |= _peak_columns([row for _, row in rows])
    metadata = schema.metadata | {METADATA: provenance(results, options, key).encode()}
    if options.licence:
        metadata |= {"licence": options.licence}
    return pa.table(arrays, schema=schema.with_metadata(metadata))


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
