"""The swap-routing score: it exchanges the latents of two waveforms and measures which attributes follow which latent.

Shapes: N rows, T samples, S static parameters; G global, L local and M intermediate latent dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.decoding import ArrayT, Decode, LatentDecoder
from hcvae.metrics.fidelity import Reliability
from hcvae.metrics.routing_data import RoutingData
from hcvae.metrics.swap_shares import LevelShares, global_selectivity, level_shares
from hcvae.waveform_attributes import COARSE, FINE

NEGLIGIBLE_EFFECT = 1e-4
"""Variance under swaps, as a share of the variance beyond the condition, below which no latent has an effect."""
FULL_WEIGHT_FIDELITY = 0.25


@dataclass(frozen=True)
class AttributeRouting:
    """The result of the swaps for one attribute."""

    shares: LevelShares
    """Shares of the attribute's variance under swaps."""
    fidelity: float
    """How much of the attribute beyond the condition the model carries, 0 to 1."""
    weight: float
    """min(1, fidelity / 0.25), or 0 if no latent changes the attribute."""
    reliability: Reliability | None
    """How well two independent averages agree in it beyond the condition; None without independent averages."""


@dataclass(frozen=True)
class SwapRouting:
    """The swap-routing score and its parts."""

    signed: float
    """Mean selectivity times sqrt(guard_coarse * guard_fine): 1 for the intended routing, -1 for the reverse."""
    score: float
    """The signed score, or 0 if it is negative."""
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
    """The reasons why the other attributes do not count, by name; they depend on the data only, not on the model."""
    waveform: LevelShares
    """Shares of the whole decoded waveform's variance under swaps: the overall effect of each latent."""


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
    """Score how well z_global controls offset, trend and gain, and z_local the shape, without labels.

    Random pairs of rows exchange their latents under one condition and are decoded. Each attribute's variance is
    divided between the latents and weighted by how much of the attribute the model carries, so that a model that
    ignores a latent, or its input, scores 0. A latent between the two is exchanged as well; an attribute that follows
    it contributes 0. The scale of the signals has no effect.

    A decoder whose z_global is the offset and whose z_local is the shape has the intended routing:

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
            tensors if the latents are tensors, otherwise with arrays.
        z_global: posterior means, [N, G].
        z_local: posterior means, [N, L].
        condition: encoded static parameters, [N, S].
        signals: the encoded waveforms, in the unit of the decoded ones, [N, T].
        z_intermediate: posterior means of a latent between z_global and z_local, [N, M]; None for models without.
        reconstructed: every row decoded from its own latents and condition, [N, T], if already known.
        independent_signals: for each row another average of the same recording, [N, T]; a row of NaN if there is
            none. Fidelity is then measured on the rows that have one.
        sampling_rate_hz: sampling rate of the waveforms.
        pairs: swaps in a repeat.
        repeats: calls of `decode` for swaps, with 4 * pairs rows each, or 8 * pairs with `z_intermediate`.
        seed: seed of the random swaps.

    Raises:
        UserError: shapes that do not fit, values that are not finite, fewer rows than three times the rank of the
            regression on the condition, or a group without an attribute that counts.
        ValueError: decoded waveforms have another shape, or values that are not finite.
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
    """Return `swap_routing_score` for waveforms that are already analysed, as they are the same in every epoch.

    `data` is that of the encoded waveforms [N, T] and their `condition`. For the other arguments and the errors see
    `swap_routing_score`.
    """
    latents = {"z_global": z_global, "z_local": z_local}
    if z_intermediate is not None:
        latents["z_intermediate"] = z_intermediate
    _check_rows(data.n_rows, latents | {"condition": condition})
    decoder = LatentDecoder(decode, tuple(latents.values()), condition, data.n_samples)
    own_attributes = data.read(_own_waveforms(decoder, reconstructed))
    swapped = np.concatenate(list(decoder.swaps(pairs, repeats, seed)), axis=-2)
    swapped_attributes = data.read(swapped)
    attributes = {}
    for name, variance in data.variances.items():
        if name in data.left_out:
            continue
        shares = level_shares(swapped_attributes[name], NEGLIGIBLE_EFFECT * variance)
        fidelity = data.reference.fidelity(name, own_attributes[name])
        attributes[name] = AttributeRouting(shares, fidelity, _weight(shares, fidelity), data.reliabilities[name])
    waveform = level_shares(swapped, NEGLIGIBLE_EFFECT * data.waveform_variance)
    return _score(attributes, data.left_out, waveform)


def _check_rows(n_rows: int, arrays: Mapping[str, Any]) -> None:
    for where, array in arrays.items():
        if len(array) != n_rows:
            raise UserError(f"{where}: must have a row for each of the {n_rows} signals, but got {len(array)} rows")


def _own_waveforms(decoder: LatentDecoder[ArrayT], reconstructed: ArrayT | None) -> FloatArray:
    """Return the waveforms [N, T] decoded from the rows' own latents: those given, or else decoded now."""
    if reconstructed is None:
        return decoder.reconstruct()
    return decoder.checked(reconstructed, len(decoder.condition))


def _weight(shares: LevelShares, fidelity: float) -> float:
    """Return 1 from a fidelity of 0.25; 0 if no latent changes the attribute, as its fidelity is then by chance."""
    if not any(shares):
        return 0.0
    return min(1.0, fidelity / FULL_WEIGHT_FIDELITY)


def _score(attributes: dict[str, AttributeRouting], left_out: Mapping[str, str], waveform: LevelShares) -> SwapRouting:
    """Combine the attributes that count."""
    coarse = [attributes[name] for name in COARSE if name in attributes]
    fine = [attributes[name] for name in FINE if name in attributes]
    selectivity_coarse = _mean_global_selectivity(coarse)
    selectivity_fine = 0.0 - _mean_global_selectivity(fine)
    guard_coarse = _mean_weight(coarse)
    guard_fine = _mean_weight(fine)
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


def _mean_weight(group: list[AttributeRouting]) -> float:
    return float(np.mean([attribute.weight for attribute in group]))


def _mean_global_selectivity(group: list[AttributeRouting]) -> float:
    """Return the mean by weight; 0 if all weights are 0."""
    total = 0.0
    weighted = 0.0
    for attribute in group:
        total += attribute.weight
        weighted += attribute.weight * global_selectivity(attribute.shares)
    if total == 0:
        return 0.0
    return weighted / total
