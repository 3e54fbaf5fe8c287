"""The inputs of the swap-routing score that depend only on the recorded waveforms, not on the model.

Shapes: N rows, T samples, S static parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hcvae.arrays import FloatArray
from hcvae.counting import counted
from hcvae.errors import NotMeasurable, UserError
from hcvae.metrics.checks import require_finite, to_numpy
from hcvae.metrics.fidelity import SUFFICIENT_PAIRS, Attributes, IndependentReference, InputReference, Reliability
from hcvae.metrics.regression import ConditionResidual
from hcvae.waveform_attributes import COARSE, FINE, NEGLIGIBLE_BAND, AttributeReader

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RoutingData:
    """The waveforms' attributes beyond the condition, and how reliable they are."""

    n_rows: int
    """N."""
    n_samples: int
    """T."""
    read: AttributeReader
    """Computes the attributes of waveforms of this scale."""
    variances: Mapping[str, float]
    """Variance of each attribute beyond the condition, by name."""
    waveform_variance: float
    """Variance of the whole waveform beyond the condition."""
    reference: InputReference | IndependentReference
    """The reference for a model's fidelity."""
    reliabilities: Mapping[str, Reliability | None]
    """How well two independent averages agree in each attribute; None without independent averages."""
    left_out: Mapping[str, str]
    """The reasons why attributes do not count, by name."""

    @classmethod
    def of(
        cls,
        signals: "NDArray[Any] | torch.Tensor",
        condition: "NDArray[Any] | torch.Tensor",
        independent_signals: "NDArray[Any] | torch.Tensor | None",
        sampling_rate_hz: float,
    ) -> Self:
        """Analyse waveforms.

        Args:
            signals: waveforms, [N, T].
            condition: their encoded static parameters, [N, S].
            independent_signals: other averages of the same recordings, [N, T]; a row of NaN if there is none.
            sampling_rate_hz: sampling rate of the waveforms.

        Raises:
            UserError: shapes that do not fit, or values that are not finite.
            NotMeasurable: fewer rows than three times the rank of the regression on the condition, waveforms that are
                all equal, or a group without an attribute that counts.
        """
        waveforms = require_finite("signals", to_numpy(signals))
        conditions = require_finite("condition", to_numpy(condition))
        if len(conditions) != len(waveforms):
            raise UserError(
                f"condition: must have a row for each of the {len(waveforms)} signals, but got {len(conditions)} rows"
            )
        read = AttributeReader.for_signals(waveforms, sampling_rate_hz)
        measured = read(waveforms)
        regression = ConditionResidual.fit(conditions)
        variances = {}
        for name, values in regression.residuals(measured).items():
            variances[name] = regression.covariance(values, values)
        reference = _reference(independent_signals, waveforms.shape, read, conditions, measured, variances)
        reliabilities = {name: reference.reliability(name) for name in measured}
        total_variance = float(np.sum(np.var(waveforms, axis=0, ddof=1)))
        left_out = _left_out(variances, total_variance, reliabilities, reference.n_pairs)
        _check_groups(left_out, reference.n_pairs)
        residual = regression.residual(waveforms)
        waveform_variance = regression.covariance(residual, residual)
        n_rows, n_samples = waveforms.shape
        return cls(n_rows, n_samples, read, variances, waveform_variance, reference, reliabilities, left_out)


def _reference(
    independent_signals: "NDArray[Any] | torch.Tensor | None",
    shape: tuple[int, ...],
    read: AttributeReader,
    conditions: FloatArray,
    measured: Attributes,
    variances: dict[str, float],
) -> InputReference | IndependentReference:
    """Return the independent averages as the reference if there are any, otherwise the input itself."""
    if independent_signals is None:
        return InputReference(measured, variances)
    independent = to_numpy(independent_signals)
    if independent.shape != shape:
        raise UserError(f"independent_signals: must have the shape of signals, {shape}, but got {independent.shape}")
    rows: NDArray[np.bool_] = np.asarray(~np.isnan(independent).all(axis=1))
    if not rows.any():
        return InputReference(measured, variances)
    others = read(require_finite("independent_signals", independent[rows]))
    regression = ConditionResidual.fit(conditions[rows])
    return IndependentReference(
        rows,
        regression,
        regression.residuals({name: values[rows] for name, values in measured.items()}),
        regression.residuals(others),
    )


def _left_out(
    variances: dict[str, float], waveform_variance: float, reliabilities: dict[str, Reliability | None], n_pairs: int
) -> dict[str, str]:
    """Return the attributes that the data do not show, with the reasons."""
    reasons = {}
    for name, reliability in reliabilities.items():
        share = variances[name] / waveform_variance
        if name in ("offset", "trend") and share < NEGLIGIBLE_BAND:
            reasons[name] = f"{share:.1e} of the waveforms' variance, below {NEGLIGIBLE_BAND:g}, as after a band-pass"
        elif reliability is not None and reliability.correlation <= reliability.chance:
            reasons[name] = (
                f"averages of one response correlate by {reliability.correlation:.3f} in "
                f"{counted(n_pairs, 'waveform')}, no better than chance, which reaches {reliability.chance:.3f}"
            )
    return reasons


def _check_groups(left_out: dict[str, str], n_pairs: int) -> None:
    """Check that an attribute of each group counts."""
    advice = ""
    if 0 < n_pairs < SUFFICIENT_PAIRS:
        advice = f"; {SUFFICIENT_PAIRS} waveforms show a correlation of 0.5"
    for group, names in (("coarse", COARSE), ("fine", FINE)):
        if left_out.keys() >= set(names):
            reasons = [f"{name}: {left_out[name]}" for name in names]
            raise NotMeasurable(
                f"no {group} attribute of the waveforms is distinguishable from noise ({'; '.join(reasons)}{advice})"
            )
