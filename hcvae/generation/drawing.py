"""Waveforms sampled from a model: from the prior alone, or with latents of a recording.

Shapes: C conditions, N waveforms (n_samples for each condition), T samples.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue
from hcvae.errors import UserError
from hcvae.generation.conditions import complete_condition, condition_table
from hcvae.generation.recordings import EncodedRecording
from hcvae.generation.tables import waveform_table

Fixed = Literal["global", "local", "both"]


def generate(
    bundle: Bundle,
    conditions: Sequence[Mapping[str, ConditionValue]],
    n_samples: int,
    seed: int = 0,
    *,
    residual_noise: bool = False,
    temperature: float = 1.0,
    extrapolate: bool = False,
) -> pa.Table:
    """Sample `n_samples` waveforms for each condition from the prior.

    Args:
        bundle: The model, from `hcvae.load`.
        conditions: One mapping of static column to value for each condition [C]; see `complete_condition`.
        n_samples: Waveforms for each condition.
        seed: Seed of the random numbers: the same seed, bundle and conditions give the same table.
        residual_noise: Whether to add the residual noise of recorded averages to the expected responses. The peaks are
            those of the response either way.
        temperature: Factor on the spread of the sampled latents, 0 to 3; 0 gives the prior's mean.
        extrapolate: Whether conditions may lie outside the training range.

    Returns:
        A waveform table of C * n_samples rows, condition-major: the condition's columns, `sample`, `signal` in uV, and
        the predicted peaks in ms and uV (see `waveform_table`). Its metadata have `residual_noise`, `true` or `false`.

    Raises:
        UserError: a condition that `complete_condition` refuses, `n_samples` below 1, or a temperature that
            is not within 0 to 3.
    """
    complete = [complete_condition(bundle, condition, extrapolate=extrapolate) for condition in conditions]
    return _sample(bundle, complete, {}, n_samples, seed, residual_noise, temperature)


def vary(
    bundle: Bundle,
    recording: EncodedRecording,
    fix: Fixed = "global",
    n_samples: int = 100,
    seed: int = 0,
    *,
    conditions: Sequence[Mapping[str, ConditionValue]] = ({},),
    residual_noise: bool = False,
    temperature: float = 1.0,
    extrapolate: bool = False,
) -> pa.Table:
    """Sample waveforms that share a latent with a recording; the other latents come from the prior.

    Args:
        bundle: The model.
        recording: From `read_recording` or `encode_recording`.
        fix: `global` keeps its z_global, `local` its z_local, `both` all of its latents (as for the same response
            under other conditions). Only `both` keeps intermediate levels.
        n_samples: Waveforms for each condition.
        seed: Seed of the random numbers.
        conditions: Values that replace those of the recording's condition, a mapping for each condition [C].
        residual_noise: As in `generate`.
        temperature: As in `generate`.
        extrapolate: As in `generate`.

    Returns:
        A table as that of `generate`.

    Raises:
        UserError: as `generate`, or an unknown `fix`.
    """
    kept = {"global": ["global"], "local": ["local"], "both": list(recording.latents)}.get(fix)
    if kept is None:
        raise UserError(f"fix: must be 'global', 'local' or 'both', but got {fix!r}")
    complete = []
    for given in conditions:
        complete.append(complete_condition(bundle, {**recording.condition, **given}, extrapolate=extrapolate))
    latents = {f"z_{block}": recording.latents[block] for block in kept}
    return _sample(bundle, complete, latents, n_samples, seed, residual_noise, temperature)


def _sample(
    bundle: Bundle,
    conditions: Sequence[Mapping[str, ConditionValue]],
    latents: Mapping[str, Tensor],
    n_samples: int,
    seed: int,
    residual_noise: bool,
    temperature: float,
) -> pa.Table:
    if n_samples < 1:
        raise UserError(f"n_samples >= 1 must hold, but got {n_samples}")
    table = condition_table(bundle, conditions)
    sampled = bundle.model.sample(
        static_params=torch.from_numpy(bundle.preprocessing.static.encode(table)),
        n_samples=n_samples,
        **latents,
        generator=torch.Generator().manual_seed(seed),
        residual_noise=residual_noise,
        temperature=temperature,
    )
    return waveform_table(
        bundle.preprocessing,
        table.take(np.repeat(np.arange(len(table)), n_samples)),
        {"sample": np.tile(np.arange(n_samples), len(table))},
        sampled["generated_signals"],
        sampled.get("generated_peaks"),
        residual_noise=residual_noise,
    )
