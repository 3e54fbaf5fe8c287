"""Waveforms decoded from the latents of recordings: reconstruction, interpolation, exchange. Nothing is drawn.

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
    """The expected waveform of each row of latents.

    Args:
        bundle: The model.
        conditions: Complete conditions [N], from `complete_condition` or a `EncodedRecording`.
        latents: Each block's [N, D]: `global`, `intermediate` where the model has such levels, `local`.
        columns: More columns of numbers [N] for the table.

    Returns:
        A waveform table of N rows: the condition's columns, `columns`, `signal` in uV, and the predicted peaks in ms
        and uV (see `waveform_table`).

    Raises:
        UserError: latents of a wrong shape, or a condition that the model cannot encode.
    """
    table = condition_table(bundle, conditions)
    static = torch.from_numpy(bundle.preprocessing.static.encode(table))
    with torch.no_grad():
        decoded = bundle.model.decode(**{f"z_{block}": z for block, z in latents.items()}, static_params=static)
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
    """From one recording to another, in equal steps of all latents and of the condition.

    The ends are the reconstructions of the two. On the way, numbers of the condition are interpolated too; texts, and
    numbers of which one is null, are those of the nearer recording.

    Args:
        bundle: The model.
        first: From `read_recording` or `encode_recording`.
        second: Likewise.
        steps: Waveforms, both ends included.
        condition: Values that both recordings take instead of their own.
        extrapolate: Whether `condition` may lie outside the training range.

    Returns:
        A waveform table of `steps` rows as that of `decode`, with `share`: 0 at the first recording, 1 at the second.

    Raises:
        UserError: fewer than 2 steps, or a condition that `complete_condition` refuses.
    """
    if steps < 2:
        raise UserError(f"steps >= 2 must hold, but got {steps}")
    ends = [
        complete_condition(bundle, {**end.condition, **(condition or {})}, extrapolate=extrapolate)
        for end in (first, second)
    ]
    share = np.linspace(0, 1, steps)
    weight = torch.from_numpy(share.astype(np.float32))[:, None]
    latents = {block: (1 - weight) * z + weight * second.latents[block] for block, z in first.latents.items()}
    between = [{name: _between(ends[0][name], ends[1][name], s) for name in ends[0]} for s in share.tolist()]
    return decode(bundle, between, latents, {"share": share})


def swap(
    bundle: Bundle,
    global_of: EncodedRecording,
    local_of: EncodedRecording,
    *,
    condition: Mapping[str, ConditionValue] | None = None,
    extrapolate: bool = False,
) -> pa.Table:
    """z_global of one recording with z_local of another, under the condition of the first.

    Intermediate levels, where the model has them, are those of the first.

    Args:
        bundle: The model.
        global_of: From `read_recording` or `encode_recording`.
        local_of: Likewise.
        condition: Values to take instead of the first recording's.
        extrapolate: Whether `condition` may lie outside the training range.

    Returns:
        A waveform table of one row, as that of `decode`.

    Raises:
        UserError: a condition that `complete_condition` refuses.
    """
    complete = complete_condition(bundle, {**global_of.condition, **(condition or {})}, extrapolate=extrapolate)
    return decode(bundle, [complete], {**global_of.latents, "local": local_of.latents["local"]})


def _between(first: ConditionValue, second: ConditionValue, share: float) -> ConditionValue:
    if isinstance(first, float | int) and isinstance(second, float | int):
        return first if first == second else (1 - share) * first + share * second
    return first if share < 0.5 else second
