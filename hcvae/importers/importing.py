"""The import pipeline: files in, one checked waveform table with its provenance out.

Files that cannot be read do not stop the rest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from hcvae.data.table import PEAK_COLUMNS, WAVES, waveform_schema
from hcvae.digests import sha256_of_file
from hcvae.errors import UserError
from hcvae.importers.averages import Blocks, Row, row_of, with_noise_of_halves
from hcvae.importers.channels import one_channel
from hcvae.importers.columns import TYPES
from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.provenance import METADATA, kept_record_id, kept_subject, made_record_id, provenance
from hcvae.importers.pseudonyms import pseudonym
from hcvae.importers.recording import CellValue, FileError, Pseudonym, ReadOptions, Recording
from hcvae.importers.registry import Format, format_named, recognise
from hcvae.importers.steps import MARGIN_MS, USUAL, RecordingSkipped, Steps, is_changed_at_the_ends, on_grid
from hcvae.importers.time_axis import check_rate, check_start
from hcvae.importers.values import is_replaced, own_values, values_of

CHANGED_ENDS = (
    f"recorded less than {MARGIN_MS:g} ms beyond an end of the window: the band-pass changes the millisecond there, "
    "unlike in longer recordings; --band-hz null keeps it"
)


def read_file(path: Path, options: ImportOptions) -> FileResult:
    """Read the rows of one file; an error is stored in the result, so that the other files can still be read."""
    result = FileResult(path)
    try:
        known = format_named(options.format) if options.format else recognise(path)
        result.format = known.name
        result.sha256 = sha256_of_file(path)
        result.companions = list(map(sha256_of_file, known.companions(path)))
        _read(known, options, result)
    except UserError as error:
        result.error = str(error)
        result.rows = []
    except OSError as error:
        result.error = f"{path}: cannot be read: {error.strerror}; copy it from the device again"
        result.rows = []
    return result


def _read(known: Format, options: ImportOptions, result: FileResult) -> None:
    """Add the rows of the file to the result."""
    blocks = Blocks()
    rows: list[Row] = []
    for recording in _recordings(known, options, result):
        try:
            _check_artifacts(recording.values, options, result)
            row = row_of(recording, on_grid(recording, options.steps), recording.values)
        except RecordingSkipped as reason:
            result.left_out[str(reason)] += 1
            continue
        block_sweeps = options.steps.blocks_of(recording)
        if block_sweeps is None:
            rows.append(row)
        else:
            rows += blocks.add(row, block_sweeps)
    if not result.recordings:
        raise FileError(result.path, "whole file", "no waveforms", "a file with at least one waveform")
    if blocks.unused:
        result.left_out["too few sweeps for a last block (--block-sweeps)"] += blocks.unused
    for row in with_noise_of_halves(rows):
        if not _is_too_noisy(row, options, result):
            result.rows.append(row)


def _recordings(known: Format, options: ImportOptions, result: FileResult) -> Iterator[Recording]:
    """Yield the recordings of a file with their final columns, and count them in the result."""
    subjects: set[str] = set()
    for recording in _of_one_channel(known, options, result):
        check_rate(recording.sampling_rate_hz, result.path, "time_unit" in known.mapping_names)
        check_start(recording.start_ms, result.path)
        if recording.subject is None:
            result.without_subject.append(result.recordings)
        else:
            subjects.add(recording.subject)
        result.recordings += 1
        result.channels.add(recording.channel)
        recording = _with_options(recording, options, result)
        _note_averaging(recording, options.steps, result)
        if is_changed_at_the_ends(recording, options.steps):
            result.notes[CHANGED_ENDS] += 1
        yield recording
    if options.subject is not None and subjects:
        result.notes[f"--subject replaces the {len(subjects)} subjects of the file"] += 1


def _of_one_channel(known: Format, options: ImportOptions, result: FileResult) -> Iterator[Recording]:
    """Return the recordings of a file as stored, of the channel that the mapping names or of the only one."""
    mapping = dict(options.mapping)
    for name in sorted(mapping.keys() - known.mapping_names):
        result.notes[f"--map {name} has no meaning for files of format {known.name}"] += 1
        del mapping[name]
    choice = "signal"
    wanted = None
    if known.channel_choice in known.mapping_names:
        choice = known.channel_choice
        wanted = mapping.get(choice, "").rpartition("=")[2] or None
    found = known.read(result.path, ReadOptions(mapping, result.notes, frozenset(options.values)))
    return one_channel(found, choice, wanted, result.path)


def _with_options(recording: Recording, options: ImportOptions, result: FileResult) -> Recording:
    """Return a recording with the columns and the subject that it gets in the table."""
    own = own_values(recording, options.steps.band_of(recording))
    for name, given in options.values.items():
        if is_replaced(name, own.get(name), given):
            result.notes[f"--value {name} replaces another value that the file states"] += 1
    values = values_of(own, options.values, f"{result.path}: waveform {result.recordings - 1} (from 0)")
    subject = recording.subject
    if not isinstance(subject, Pseudonym):
        subject = kept_subject(recording, {})
    return replace(recording, values=values, subject=subject)


def _note_averaging(recording: Recording, steps: Steps, result: FileResult) -> None:
    if steps.blocks_of(recording) is not None:
        result.used_options |= {"--block-sweeps", "--reject-before-uv", "--reject-after-uv"}
    elif steps.block_sweeps != USUAL:
        expected = "they are averages of as many sweeps"
        if recording.values.get("n_averages") is None:
            expected = "for single sweeps add --value n_averages=1"
        result.notes[f"recordings that --block-sweeps leaves as they are: {expected}"] += 1


def _check_artifacts(values: Mapping[str, CellValue], options: ImportOptions, result: FileResult) -> None:
    """Skip a recording of which the device rejected too many sweeps."""
    if options.max_artifact_share is None:
        return
    artifacts = values.get("n_artifacts")
    averages = values.get("n_averages")
    if not isinstance(artifacts, int) or not isinstance(averages, int):
        result.notes["recordings without a number of artefacts or sweeps, which --max-artifact-share keeps"] += 1
        return
    result.used_options.add("--max-artifact-share")
    sweeps = averages
    if values.get("half") in (1, 2):
        sweeps *= 2
    if artifacts > options.max_artifact_share * sweeps:
        raise RecordingSkipped(f"artefacts in more than {options.max_artifact_share:.0%} of the sweeps")


def _is_too_noisy(row: Row, options: ImportOptions, result: FileResult) -> bool:
    """Return whether to leave out a row for its noise, and count it in the result."""
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
    """Return the waveform table of the rows of all files, in their order, with the provenance in its metadata.

    All rows of a file without subjects get one subject. Subjects and records of tables that an earlier import wrote
    keep their pseudonyms and identifiers.

    Raises:
        UserError: no rows.
    """
    rows: list[Row] = []
    for result in results:
        rows += result.rows
    if not rows:
        raise UserError("no waveform is left to import; see the reasons above")
    labelled = any(row.peaks is not None for row in rows)
    grid = options.steps.grid
    schema = waveform_schema(TYPES, grid.samples, grid.rate_hz, peaks=labelled)
    scalars = pa.Table.from_pylist(list(_scalar_rows(results, options, key)), pa.schema(TYPES))
    arrays = dict(zip(scalars.column_names, scalars.columns, strict=True))
    signals = np.concatenate([row.signal_uv for row in rows]).astype(np.float32)
    arrays["signal"] = pa.FixedSizeListArray.from_arrays(signals, grid.samples)
    if labelled:
        arrays |= _peak_columns(rows)
    metadata = schema.metadata | {METADATA: provenance(results, options, key).encode()}
    if options.licence:
        metadata |= {"licence": options.licence}
    return pa.table(arrays, schema=schema.with_metadata(metadata))


def _scalar_rows(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> Iterator[dict[str, CellValue]]:
    """Yield the columns of one value of each row, with identifiers of the records and pseudonyms of the subjects."""
    numbers: Counter[str] = Counter()
    for result in results:
        for row in result.rows:
            numbers[result.sha256] += 1
            values = dict(row.values)
            made = made_record_id(result.sha256, numbers[result.sha256])
            values["record_id"] = kept_record_id(row.record_id) or made
            identity = options.subject or row.subject or f"file {result.sha256}"
            if not isinstance(identity, Pseudonym):
                identity = pseudonym(identity, key)
            values["subject_id"] = identity
            yield values


def _peak_columns(rows: Sequence[Row]) -> dict[str, pa.Array]:
    latency = np.full((len(rows), len(WAVES)), np.nan, np.float32)
    amplitude = np.full_like(latency, np.nan)
    valid = np.zeros((len(rows), len(WAVES)), bool)
    for number, row in enumerate(rows):
        if row.peaks is not None:
            latency[number] = row.peaks.latency_ms
            amplitude[number] = row.peaks.amplitude_uv
            valid[number] = row.peaks.valid
    columns = {}
    for name, values in zip(PEAK_COLUMNS, (latency, amplitude, valid), strict=True):
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(WAVES))
    return columns
