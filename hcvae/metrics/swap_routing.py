"""The swap-routing score: exchange the latents of two waveforms, and see which attributes follow which latent.

Shapes: N rows, T samples, S static parameters; G global, L local and M intermediate latent dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.metrics.decoding import ArrayT, Decode, LatentDecoder
from hcvae.metrics.fidelity import Reliability
from hcvae.metrics.routing_data import RoutingData
from hcvae.metrics.swap_shares import LevelShares, level_shares
from hcvae.waveform_attributes import COARSE, FINE

NEGLIGIBLE_EFFECT = 1e-4  # of the attribute's variance beyond the condition
FULL_WEIGHT_FIDELITY = 0.25


@dataclass(frozen=True)
class AttributeRouting:
    """What the swaps say about one attribute."""

    shares: LevelShares
    """Shares of the attribute's variance under swaps."""
    fidelity: float
    """How much of the attribute beyond the condition the model carries, 0 to 1."""
    weight: float
    """min(1, fidelity / 0.25), 0 where no latent moves the attribute."""
    reliability: Reliability | None
    """How well two independent averages agree in it beyond the condition; None where none were given."""


@dataclass(frozen=True)
class SwapRouting:
    """The swap-routing score and what it is made of."""

    signed: float
    """Mean selectivity times sqrt(guard_coarse * guard_fine): 1 routes as wanted, -1 the other way round."""
    score: float
    """The signed score, 0 where it is negative."""
    selectivity_coarse: float
    """Weighted mean of global minus local share over the coarse attributes."""
    selectivity_fine: float
    """Weighted mean of local minus global share over the fine attributes."""
    guard_coarse: float
    """Mean weight of the coarse attributes."""
    guard_fine: float
    """Mean weight of the fine attributes."""
    attributes: Mapping[str, AttributeRouting]
    """The attributes that count, by name."""
    left_out: Mapping[str, str]
    """Why each other attribute does not count, by name. It depends on the data only, never on the model."""
    waveform: LevelShares
    """Shares of the whole decoded waveform's variance under swaps: how much each latent steers the decoder at all."""


def swap_routing_score(
    decode: Decode[ArrayT],
    z_global: ArrayT,
    z_local: ArrayT,
    condition: ArrayT,
    signals: NDArray[Any] | torch.Tensor,
    *,
    z_intermediate: ArrayT | None = None,
    reconstructed: ArrayT | None = None,
    independent_signals: NDArray[Any] | torch.Tensor | None = None,
    sampling_rate_hz: float = 20_000.0,
    pairs: int = 256,
    repeats: int = 4,
    seed: int = 0,
) -> SwapRouting:
    """Score how well z_global controls offset, trend and gain, and z_local the shape. Needs no labels.

    Random pairs of rows exchange their latents under one condition and are decoded. Each attribute's variance is
    divided between the latents and weighted by how much of the attribute the model carries at all, so that a model
    that ignores a latent, or its input, scores 0. A latent between the two is exchanged as well; an attribute that
    follows it is routed neither way, and counts 0. The scale of the signals does not matter.

    A decoder whose z_global is the offset and whose z_local is the shape routes as wanted:

    >>> rng = np.random.default_rng(0)
    >>> z_global, z_local, condition = rng.normal(size=(100, 1)), rng.normal(size=(100, 40)), np.zeros((100, 1))
    >>> def decode(z_global, z_local, condition):
    ...     return z_global + z_local - z_local.mean(axis=1, keepdims=True)
    >>> routing = swap_routing_score(decode, z_global, z_local, condition, decode(z_global, z_local, condition))
    >>> round(routing.attributes["offset"].shares.global_share, 6)
    1.0

    Args:
        decode: (z_global, z_local, condition) -> waveforms [n, T], a model in eval mode; with `z_intermediate` it
            takes that as a fourth argument. Called `repeats` times, and once more without `reconstructed`, with float32
            tensors where the latents are tensors, otherwise with arrays.
        z_global: posterior means, [N, G].
        z_local: posterior means, [N, L].
        condition: encoded static parameters, [N, S].
        signals: the encoded waveforms in the unit of decode's, [N, T].
        z_intermediate: posterior means of a latent between z_global and z_local, [N, M]; None for models without.
        reconstructed: what `decode` makes of every row's own latents and condition, [N, T], where it is known already.
        independent_signals: for each row another average of the same recording, [N, T]; a row of NaN where there
            is none. Fidelity is then measured on the rows that have one.
        sampling_rate_hz: of the waveforms.
        pairs: swaps in a repeat.
        repeats: calls of `decode` for swaps, with 4 * pairs rows each, or 8 * pairs with `z_intermediate`.
        seed: of the draw of the swaps.

    Raises:
        UserError: shapes that do not fit, values that are not finite, fewer rows than three times the rank of the
            regression on the condition, or a group with no attribute left.
        ValueError: what is decoded has another shape, or values that are not finite.
    """
    data = RoutingData.of(signals, condition, independent_signals, sampling_rate_hz)
    return route(
        decode,
        z_global,
        z_local,
        condition,
        data,
        z_intermediate=z_intermediate,
        reconstructed=reconstructed,
        pairs=pairs,
        repeats=repeats,
        seed=seed,
    )


def route(
    decode: Decode[ArrayT],
    z_global: ArrayT,
    z_local: ArrayT,
    condition: ArrayT,
    data: RoutingData,
    *,
    z_intermediate: ArrayT | None = None,
    reconstructed: ArrayT | None = None,
    pairs: int = 256,
    repeats: int = 4,
    seed: int = 0,
) -> SwapRouting:
    """`swap_routing_score` on waveforms that were looked at before: they do not change from epoch to epoch.

    Args:
        data: of the encoded waveforms [N, T] and their `condition`.

    The other arguments, and what is raised, are those of `swap_routing_score`.
    """
    latents = {"z_global": z_global, "z_local": z_local}
    if z_intermediate is not None:
        latents["z_intermediate"] = z_intermediate
    _check_rows(data.n_rows, latents | {"condition": condition})
    decoder = LatentDecoder(decode, tuple(latents.values()), condition, data.n_samples)
    carried = data.read(decoder.reconstruct() if reconstructed is None else decoder.checked(reconstructed, data.n_rows))
    swapped = np.concatenate(list(decoder.swaps(pairs, repeats, seed)), axis=-2)
    swapped_attributes = data.read(swapped)
    attributes = {}
    for name in (name for name in data.variances if name not in data.left_out):
        shares = level_shares(swapped_attributes[name], NEGLIGIBLE_EFFECT * data.variances[name])
        fidelity = data.reference.fidelity(name, carried[name])
        attributes[name] = AttributeRouting(shares, fidelity, _weight(shares, fidelity), data.reliabilities[name])
    waveform = level_shares(swapped, NEGLIGIBLE_EFFECT * data.waveform_variance)
    return _score(attributes, data.left_out, waveform)


def _check_rows(n_rows: int, arrays: Mapping[str, Any]) -> None:
    for where, array in arrays.items():
        if len(array) != n_rows:
            raise UserError(f"{where}: there must be a row for each of the {n_rows} signals, but got {len(array)} rows")


def _weight(shares: LevelShares, fidelity: float) -> float:
    """Full from a fidelity of 0.25; 0 where no latent moves the attribute, whatever chance lends to the fidelity."""
    return min(1.0, fidelity / FULL_WEIGHT_FIDELITY) if any(shares) else 0.0


def _score(attributes: dict[str, AttributeRouting], left_out: Mapping[str, str], waveform: LevelShares) -> SwapRouting:
    """The score of the attributes that count."""
    coarse = [attributes[name] for name in COARSE if name in attributes]
    fine = [attributes[name] for name in FINE if name in attributes]
    selectivity_coarse, selectivity_fine = _global_selectivity(coarse), 0.0 - _global_selectivity(fine)
    guard_coarse, guard_fine = (float(np.mean([a.weight for a in group])) for group in (coarse, fine))
    signed = (selectivity_coarse + selectivity_fine) / 2 * float(np.sqrt(guard_coarse * guard_fine))
    return SwapRouting(
        signed=signed,
        score=max(0.0, signed),
        selectivity_coarse=selectivity_coarse,
        selectivity_fine=selectivity_fine,
        guard_coarse=guard_coarse,
        guard_fine=guard_fine,
        attributes=attributes,
        left_out=left_out,
        waveform=waveform,
    )


def _global_selectivity(group: list[AttributeRouting]) -> float:
    """Weighted mean of global minus local share; 0 where nothing weighs."""
    total = sum(a.weight for a in group)
    if total == 0:
        return 0.0
    return sum(a.weight * (a.shares.global_share - a.shares.local_share) for a in group) / total
