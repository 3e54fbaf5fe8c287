"""Recordings encoded by a model: their condition and their latents.

Shapes: T samples, D dimensions of a latent block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.counting import counted
from hcvae.data.preprocessing import ConditionValue, Preprocessing
from hcvae.data.table import checked_signal, sampling_rate_of, scalar_column, signals_of
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.generation.conditions import complete_condition, condition_table


@dataclass(frozen=True, repr=False)
class EncodedRecording(Described):
    """A recording with its condition and its latents."""

    condition: Mapping[str, ConditionValue]
    """Every static column: the table's value, or the typical one if the table has no such column."""
    latents: Mapping[str, Tensor]
    """The posterior mean [1, D] of each block: `global`, `intermediate` where the model has such levels, `local`."""
    assumed: tuple[str, ...]
    """Static columns that the table lacks."""
    signal_uv: NDArray[np.float32]
    """The recording itself [T]."""

    def facts(self) -> dict[str, object]:
        """Return the condition and the dimensions of the latents."""
        latents = {block: z.shape[1] for block, z in self.latents.items()}
        return {"condition": self.condition, "latents": latents, "samples": len(self.signal_uv)}


def read_recording(bundle: Bundle, path: str | Path, row: int = 0, *, extrapolate: bool = False) -> EncodedRecording:
    """Encode one row of a Parquet waveform table.

    Raises:
        UserError: `read_row` or `encode_recording` refuses it; the message names file and row.
    """
    return encode_recording(bundle, read_row(path, row), f"{path}, row {row}", extrapolate=extrapolate)


def read_row(path: str | Path, row: int) -> pa.Table:
    """Read one row of a Parquet waveform table; only its row group is read.

    Raises:
        UserError: no such file or row, or not Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            return _row(file, row, f"{path}")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name a Parquet waveform table") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path}: must be a readable Parquet waveform table, but got: {error}; hcvae import makes one"
        ) from error


def encode_recording(
    bundle: Bundle, table: pa.Table, where: str = "recording", *, extrapolate: bool = False
) -> EncodedRecording:
    """Encode a recording: the mean of the posterior of every latent block, in eval mode.

    Args:
        bundle: The model.
        table: One row: `signal`, T samples in uV, and the static columns; `sampling_rate_hz` in the metadata. A static
            column that is missing, or null as in no training row, gets its typical value, as in
            `complete_condition`.
        where: Name of the recording in messages.
        extrapolate: Whether its condition may lie outside the training range.

    Raises:
        UserError: not exactly one row, another length or sampling rate, samples that are not finite, or a condition
            that `complete_condition` refuses.
    """
    preprocessing = bundle.preprocessing
    if table.num_rows != 1 or "signal" not in table.column_names:
        raise UserError(f"{where}: must be one row with a column 'signal', but got {counted(table.shape[0], 'row')}")
    rate_hz = sampling_rate_of(table, bundle.config.data.sampling_rate_hz, where)
    if rate_hz != preprocessing.sampling_rate_hz:
        raise UserError(
            f"{where}: the model's waveforms have {preprocessing.sampling_rate_hz:g} Hz, but got {rate_hz:g} Hz; "
            "resample the recording"
        )
    signal_uv = signals_of(
        pa.table({"signal": checked_signal(table["signal"], preprocessing.signal_length, f"{where}: column 'signal'")})
    )
    own = _own_condition(preprocessing, table, where)
    try:
        condition = complete_condition(bundle, own, extrapolate=extrapolate)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    conditions = condition_table(bundle, [condition])
    signal = torch.from_numpy(preprocessing.signal.normalize(signal_uv, preprocessing.signal.index(conditions)))
    with torch.no_grad():
        posterior = bundle.model.encode(signal, torch.from_numpy(preprocessing.static.encode(conditions)))
    latents = {block: posterior[f"mu_{block}"] for block in bundle.model.latent_dims}
    assumed = tuple(name for name in condition if name not in own)
    return EncodedRecording(condition, latents, assumed, signal_uv[0])


def _own_condition(preprocessing: Preprocessing, table: pa.Table, where: str) -> dict[str, ConditionValue]:
    """Return the values of the static columns that the recording has; a null that no training row had is no value."""
    own: dict[str, ConditionValue] = {}
    for column in preprocessing.static.columns:
        name = column.name
        if name not in table.column_names:
            continue
        value = scalar_column(table[name], f"{where}: column {name!r}")[0].as_py()
        if value is not None or column.has(None):
            own[name] = value
    return own


def _row(file: pq.ParquetFile, row: int, where: str) -> pa.Table:
    if not 0 <= row < file.metadata.num_rows:
        raise UserError(f"{where}: row must be 0 to {file.metadata.num_rows - 1}, but got {row}")
    group = 0
    left = row
    while left >= file.metadata.row_group(group).num_rows:
        left -= file.metadata.row_group(group).num_rows
        group += 1
    return file.read_row_group(group).slice(left, 1)
