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
from hcvae.metrics.attributes import COARSE, FINE, AttributeReader
from hcvae.metrics.checks import finite
from hcvae.metrics.decoding import ArrayT, Decode, LatentDecoder, to_numpy
from hcvae.metrics.fidelity import Attributes, IndependentReference, InputReference, Reliability
from hcvae.metrics.regression import ConditionRegression
from hcvae.metrics.swap_shares import LevelShares, level_shares

NEGLIGIBLE_EFFECT = 1e-4  # of the attribute's variance beyond the condition
NEGLIGIBLE_BAND = 1e-3  # of the waveforms' variance
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
    waveforms = finite("signals", to_numpy(signals))
    conditions = finite("condition", to_numpy(condition))
    latents = {"z_global": z_global, "z_local": z_local}
    if z_intermediate is not None:
        latents["z_intermediate"] = z_intermediate
    _check_rows(len(waveforms), latents | {"condition": condition})
    read = AttributeReader.for_signals(waveforms, sampling_rate_hz)
    measured = read(waveforms)

    regression = ConditionRegression.fit(conditions)
    residuals = {name: regression.residual(values) for name, values in measured.items()}
    variances = {name: regression.covariance(values, values) for name, values in residuals.items()}
    reference = _reference(independent_signals, waveforms.shape, read, conditions, measured, variances)
    reliabilities = {name: reference.reliability(name) for name in measured}
    left_out = _left_out(variances, float(np.sum(np.var(waveforms, axis=0, ddof=1))), reliabilities)
    _check_groups(left_out)

    decoder = LatentDecoder(decode, tuple(latents.values()), condition, waveforms.shape[1])
    carried = read(decoder.reconstruct() if reconstructed is None else decoder.checked(reconstructed, len(waveforms)))
    swapped = np.concatenate(list(decoder.swaps(pairs, repeats, seed)), axis=-2)
    swapped_attributes = read(swapped)
    attributes = {}
    for name in (name for name in measured if name not in left_out):
        shares = level_shares(swapped_attributes[name], NEGLIGIBLE_EFFECT * variances[name])
        fidelity = reference.fidelity(name, carried[name])
        attributes[name] = AttributeRouting(shares, fidelity, _weight(shares, fidelity), reliabilities[name])
    residual = regression.residual(waveforms)
    waveform = level_shares(swapped, NEGLIGIBLE_EFFECT * regression.covariance(residual, residual))
    return _score(attributes, left_out, waveform)


def _check_rows(n_rows: int, arrays: Mapping[str, Any]) -> None:
    for where, array in arrays.items():
        if len(array) != n_rows:
            raise UserError(f"{where}: there must be a row for each of the {n_rows} signals, but got {len(array)} rows")


def _reference(
    independent_signals: NDArray[Any] | torch.Tensor | None,
    shape: tuple[int, ...],
    read: AttributeReader,
    conditions: NDArray[np.float64],
    measured: Attributes,
    variances: dict[str, float],
) -> InputReference | IndependentReference:
    """The independent averages where there are any, otherwise the input itself."""
    if independent_signals is None:
        return InputReference(measured, variances)
    independent = to_numpy(independent_signals)
    if independent.shape != shape:
        raise UserError(f"independent_signals: the shape must be that of signals {shape}, but got {independent.shape}")
    rows: NDArray[np.bool_] = np.asarray(~np.isnan(independent).all(axis=1))
    if not rows.any():
        return InputReference(measured, variances)
    others = read(finite("independent_signals", independent[rows]))
    regression = ConditionRegression.fit(conditions[rows])
    return IndependentReference(
        rows,
        regression,
        {name: regression.residual(values[rows]) for name, values in measured.items()},
        {name: regression.residual(values) for name, values in others.items()},
    )


def _left_out(
    variances: dict[str, float], waveform_variance: float, reliabilities: dict[str, Reliability | None]
) -> dict[str, str]:
    """The attributes that the data do not show, with the reason."""
    reasons = {}
    for name, reliability in reliabilities.items():
        share = variances[name] / waveform_variance
        if name in ("offset", "trend") and share < NEGLIGIBLE_BAND:
            reasons[name] = f"{share:.1e} of the waveforms' variance, below {NEGLIGIBLE_BAND:g}, as after a band-pass"
        elif reliability is not None and reliability.correlation <= reliability.chance:
            reasons[name] = (
                f"correlation {reliability.correlation:.3f} between independent averages, not above the "
                f"{reliability.chance:.3f} that chance reaches"
            )
    return reasons


def _check_groups(left_out: dict[str, str]) -> None:
    """A score needs an attribute of each group."""
    for group, names in (("coarse", COARSE), ("fine", FINE)):
        if all(name in left_out for name in names):
            reasons = "; ".join(f"{name}: {left_out[name]}" for name in names)
            raise UserError(
                f"signals: a {group} attribute must be measurable, but got none ({reasons}); "
                "evaluate more waveforms, or ones with less noise"
            )


def _weight(shares: LevelShares, fidelity: float) -> float:
    """Full from a fidelity of 0.25; 0 where no latent moves the attribute, whatever chance lends to the fidelity."""
    return min(1.0, fidelity / FULL_WEIGHT_FIDELITY) if any(shares) else 0.0


def _score(attributes: dict[str, AttributeRouting], left_out: dict[str, str], waveform: LevelShares) -> SwapRouting:
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
