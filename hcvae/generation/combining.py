"""Waveforms decoded from the latents of recordings, without sampling: reconstruction, interpolation, exchange.

Shapes: N waveforms, D dimensions of a latent block.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue
from hcvae.errors import UserError
from hcvae.generation.conditions import complete_condition, condition_table
from hcvae.generation.recordings import EncodedRecording
from hcvae.generation.tables import waveform_table


def decode(
    bundle: Bundle,
    conditions: Sequence[Mapping[str, ConditionValue]],
    latents: Mapping[str, Tensor],
    columns: Mapping[str, NDArray[np.generic]] | None = None,
) -> pa.Table:
    """Decode the expected waveform of each row of latents.

    Args:
        bundle: The model.
        conditions: Complete conditions [N], from `complete_condition` or an `EncodedRecording`.
        latents: Each block's [N, D]: `global`, `intermediate` where the model has such levels, `local`.
        columns: Additional columns of numbers [N] for the table.

    Returns:
        A waveform table of N rows: the condition's columns, `columns`, `signal` in uV, and the predicted peaks in ms
        and uV (see `waveform_table`).

    Raises:
        UserError: latents of a wrong shape, or a condition that the model cannot encode.
    """
    table = condition_table(bundle, conditions)
    static = torch.from_numpy(bundle.preprocessing.static.encode(table))
    z = {f"z_{block}": values for block, values in latents.items()}
    with torch.no_grad():
        decoded = bundle.model.decode(**z, static_params=static)
    return waveform_table(
        bundle.preprocessing, table, columns or {}, decoded["recon_signal"], decoded.get("predicted_peaks")
    )


def interpolate(
    bundle: Bundle,
    first: EncodedRecording,
    second: EncodedRecording,
    steps: int = 9,
    *,
    condition: Mapping[str, ConditionValue] | None = None,
    extrapolate: bool = False,
) -> pa.Table:
    """Interpolate from one recording to another, in equal steps of all latents and of the condition.

    The ends are the reconstructions of the two. Numbers of the condition are interpolated, too; texts, and numbers of
    which one is null, are those of the nearer recording.

    Args:
        bundle: The model.
        first: From `read_recording` or `encode_recording`.
        second: Likewise.
        steps: Waveforms, both ends included.
        condition: Values that replace those of both recordings.
        extrapolate: Whether `condition` may lie outside the training range.

    Returns:
        A waveform table of `steps` rows as that of `decode`, with `share`: 0 at the first recording, 1 at the second.

    Raises:
        UserError: fewer than 2 steps, or a condition that `complete_condition` refuses.
    """
    if steps < 2:
        raise UserError(f"steps >= 2 must hold, but got {steps}")
    start = _replaced(bundle, first, condition, extrapolate)
    end = _replaced(bundle, second, condition, extrapolate)
    share = np.linspace(0, 1, steps)
    weight = torch.from_numpy(share.astype(np.float32))[:, None]
    latents = {block: (1 - weight) * z + weight * second.latents[block] for block, z in first.latents.items()}
    conditions = [_condition_between(start, end, s) for s in share.tolist()]
    return decode(bundle, conditions, latents, {"share": share})


def swap(
    bundle: Bundle,
    global_of: EncodedRecording,
    local_of: EncodedRecording,
    *,
    condition: Mapping[str, ConditionValue] | None = None,
    extrapolate: bool = False,
) -> pa.Table:
    """Decode z_global of one recording with z_local of another, under the condition of the first.

    Intermediate levels, where the model has them, are those of the first.

    Args:
        bundle: The model.
        global_of: From `read_recording` or `encode_recording`.
        local_of: Likewise.
        condition: Values that replace those of the first recording.
        extrapolate: Whether `condition` may lie outside the training range.

    Returns:
        A waveform table of one row, as that of `decode`.

    Raises:
        UserError: a condition that `complete_condition` refuses.
    """
    complete = _replaced(bundle, global_of, condition, extrapolate)
    return decode(bundle, [complete], {**global_of.latents, "local": local_of.latents["local"]})


def _replaced(
    bundle: Bundle, recording: EncodedRecording, condition: Mapping[str, ConditionValue] | None, extrapolate: bool
) -> dict[str, ConditionValue]:
    """Return the condition of a recording with the values of `condition` instead of its own."""
    return complete_condition(bundle, {**recording.condition, **(condition or {})}, extrapolate=extrapolate)


def _condition_between(
    start: Mapping[str, ConditionValue], end: Mapping[str, ConditionValue], share: float
) -> dict[str, ConditionValue]:
    return {name: _between(start[name], end[name], share) for name in start}


def _between(first: ConditionValue, second: ConditionValue, share: float) -> ConditionValue:
    if isinstance(first, float | int) and isinstance(second, float | int):
        if first == second:
            return first
        return (1 - share) * first + share * second
    if share < 0.5:
        return first
    return second
