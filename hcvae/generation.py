"""Waveforms from a model bundle, as a waveform table.

Legend: C conditions, N waveforms (n_samples for each condition), T samples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from hcvae.bundle import Bundle
from hcvae.data.dataset import MODEL_WAVES
from hcvae.data.preprocessing import Value
from hcvae.data.static import StaticColumn
from hcvae.data.table import WAVES
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean


def complete_condition(bundle: Bundle, given: Mapping[str, Value]) -> dict[str, Value]:
    """`given` with every column that it leaves out at its typical value in the training data.

    Typical is the median, or most frequent category, of the training rows in the same normalisation group.

    Raises:
        UserError: a column or a category that the model does not know, or a null where training had none.
    """
    preprocessing = bundle.preprocessing
    columns = {column.name: column for column in preprocessing.static.columns}
    for name in given:
        if name not in columns:
            raise UserError(f"condition {name}: the model has no such column{did_you_mean(name, list(columns))}")
    group_by = preprocessing.signal.group_by
    if group_by is None:
        group = ""
    elif group_by in given:
        group = str(given[group_by])
    else:
        raise UserError(f"condition {group_by}: must be given, one of {list(preprocessing.signal.groups)}")
    if group not in preprocessing.typical:
        raise UserError(f"condition {group_by}: must be one of {list(preprocessing.typical)}, but got {group!r}")
    return {**preprocessing.typical[group], **given}


def parse_condition(bundle: Bundle, text: Mapping[str, str]) -> dict[str, Value]:
    """Values of a command line, `null` for none, as the types of the model's columns.

    Raises:
        UserError: not a number where the column holds numbers.
    """
    kinds = {column.name: column for column in bundle.preprocessing.static.columns}
    return {name: _parse(kinds.get(name), name, value) for name, value in text.items()}


def generate(
    bundle: Bundle,
    conditions: Sequence[Mapping[str, Value]],
    n_samples: int,
    seed: int = 0,
    *,
    residual_noise: bool = False,
) -> pa.Table:
    """Draw `n_samples` waveforms for each condition from the prior.

    Args:
        bundle: The model, from `hcvae.load`.
        conditions: One mapping of static column to value for each condition [C]; see `complete_condition`.
        n_samples: Waveforms for each condition.
        seed: Seed of the draws: the same seed, bundle and conditions give the same table.
        residual_noise: Waveforms as averages of a recorder look, instead of the expected responses. The peaks are the
            response's either way.

    Returns:
        A waveform table of C * n_samples rows, condition-major: the condition's columns, `signal` in uV, and the
        predicted peaks in ms and uV (waves that no training row had labelled are NaN and not valid). Its metadata say
        `residual_noise`, `true` or `false`.

    Raises:
        UserError: a condition that the model cannot encode, or `n_samples` below 1.
    """
    if n_samples < 1:
        raise UserError(f"n_samples >= 1 must hold, but got {n_samples}")
    preprocessing = bundle.preprocessing
    table = _condition_table(bundle, conditions)
    static = torch.from_numpy(preprocessing.static.encode(table))
    drawn = bundle.model.sample(
        static_params=static,
        n_samples=n_samples,
        generator=torch.Generator().manual_seed(seed),
        residual_noise=residual_noise,
    )
    rows = np.repeat(np.arange(len(table)), n_samples)
    group = preprocessing.signal.index(table)[rows]
    signals = preprocessing.signal.denormalize(drawn["generated_signals"].numpy(), group)
    result = table.take(rows)
    result = result.append_column("sample", pa.array(np.tile(np.arange(n_samples), len(table))))
    result = result.append_column("signal", _lists(signals, pa.float32()))
    if "generated_peaks" in drawn:
        latency_ms, amplitude_uv = _all_waves(drawn["generated_peaks"].numpy(), preprocessing.labelled_waves)
        result = result.append_column("peak_latency_ms", _lists(latency_ms, pa.float32()))
        result = result.append_column("peak_amplitude_uv", _lists(amplitude_uv, pa.float32()))
        result = result.append_column("peak_valid", _lists(np.isfinite(latency_ms), pa.bool_()))
    rate_hz, noisy = f"{preprocessing.sampling_rate_hz:g}", str(residual_noise).lower()
    return result.replace_schema_metadata({"sampling_rate_hz": rate_hz, "residual_noise": noisy})


def _condition_table(bundle: Bundle, conditions: Sequence[Mapping[str, Value]]) -> pa.Table:
    complete = [complete_condition(bundle, condition) for condition in conditions]
    return pa.table(
        {
            column.name: pa.array(
                [condition[column.name] for condition in complete],
                pa.float64() if column.kind == "number" else pa.string(),
            )
            for column in bundle.preprocessing.static.columns
        }
    )


def _parse(column: StaticColumn | None, name: str, text: str) -> Value:
    if text == "null":
        return None
    if column is None or column.kind == "category":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"condition {name}: must be a number or null, but got {text!r}") from error


def _all_waves(peaks: np.ndarray, labelled: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Waves I to V [N, 5] from the predicted ones [N, 6]; NaN where nothing was learned."""
    latency_ms, amplitude_uv = np.full((2, len(peaks), len(WAVES)), np.nan, dtype=np.float32)
    for column, wave in enumerate(MODEL_WAVES):
        if wave in labelled:
            latency_ms[:, WAVES.index(wave)] = peaks[:, column]
            amplitude_uv[:, WAVES.index(wave)] = peaks[:, column + len(MODEL_WAVES)]
    return latency_ms, amplitude_uv


def _lists(values: np.ndarray, kind: pa.DataType) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])
