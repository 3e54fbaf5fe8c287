"""How much of an attribute a model carries beyond the condition: against an independent average, or the input itself.

Shapes: N rows, D coordinates of an attribute. Residuals are what the regression on the condition leaves.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from hcvae.metrics.regression import ConditionResidual

CHANCE = norm.sf(3.0)
"""1 in 741."""
SUFFICIENT = 34
"""Pairs in which a correlation of 0.5 is above chance, whatever the attribute (Student's t with 32 degrees)."""

Attributes = dict[str, NDArray[np.float64]]


class Reliability(NamedTuple):
    """How well two independent averages agree in an attribute beyond the condition."""

    correlation: float
    """Of the averages."""
    chance: float
    """What the correlation exceeds in 1 of 741 cases when the pairs are permuted: 3 standard deviations of a normal."""


@dataclass(frozen=True)
class InputReference:
    """Fidelity to the encoded waveform, where no recording has a second average."""

    attributes: Attributes
    """Attributes of the encoded waveforms, each [N, D]."""
    variances: dict[str, float]
    """Their variances beyond the condition."""

    def reliability(self, name: str) -> Reliability | None:
        """None: one average does not tell how much of it is noise."""
        return None

    def fidelity(self, name: str, reconstructed: NDArray[np.float64]) -> float:
        """1 - MSE / variance, between 0 and 1; 0 where nothing varies."""
        variance = self.variances[name]
        error = float(np.sum((reconstructed - self.attributes[name]) ** 2) / len(reconstructed))
        return float(np.clip(1 - error / variance, 0, 1)) if variance > 0 else 0.0


@dataclass(frozen=True)
class IndependentReference:
    """Fidelity to an independent average of the same recording, on the rows that have one.

    The noise of two averages does not correlate: copying the input's noise earns nothing, leaving it out costs
    nothing, and an ideal denoiser has fidelity 1.
    """

    rows: NDArray[np.bool_]
    """The N rows that have an independent average, out of all."""
    regression: ConditionResidual
    """On these rows."""
    residuals: Attributes
    """Residuals of the encoded waveforms' attributes, each [N, D]."""
    independent: Attributes
    """Residuals of the independent averages' attributes, each [N, D]."""

    def reliability(self, name: str) -> Reliability:
        """How well the two averages agree."""
        return _agreement(self.residuals[name], self.independent[name], self.regression.freedom)

    def fidelity(self, name: str, reconstructed: NDArray[np.float64]) -> float:
        """Cov(reconstruction, independent) / Cov(input, independent) beyond the condition, between 0 and 1.

        0 where the reconstruction agrees with the independent average no better than chance: the score takes a square
        root, which would make much of a small accident. Defined for attributes whose reliability is above chance.
        """
        model = self.regression.residual(reconstructed[self.rows])
        agreement = _agreement(model, self.independent[name], self.regression.freedom)
        if agreement.correlation <= agreement.chance:
            return 0.0
        kept = self.regression.covariance(model, self.independent[name])
        return float(np.clip(kept / self.regression.covariance(self.residuals[name], self.independent[name]), 0, 1))


def _agreement(first: NDArray[np.float64], second: NDArray[np.float64], free: int) -> Reliability:
    """Correlation of residuals [N, D], summed over coordinates, and what permuting the pairs makes of it.

    Under permutation the summed product has mean 0 and the exact variance sum_ij <r_i, r'_j>^2 / (N - 1), for
    residuals r, r' of mean 0 (Hoeffding 1951, Ann. Math. Statist. 22:558): no permutation has to be drawn. Beyond a
    condition, the `free` rows that the regression leaves take the place of N - 1. A correlation of that variance is
    that of so many pairs of numbers, and follows Student's t, which keeps it below 1 where the pairs are few.
    """
    scatter_first, scatter_second = first.T @ first, second.T @ second
    scale = float(np.sqrt(np.trace(scatter_first) * np.trace(scatter_second)))
    together = float(np.sum(scatter_first * scatter_second))
    if together == 0:
        return Reliability(0.0, 0.0)
    freedom = free * scale**2 / together - 1
    quantile = float(student_t.isf(CHANCE, freedom)) if freedom > 0 else np.inf
    chance = 1 / np.sqrt(1 + freedom / quantile**2) if np.isfinite(quantile) else 1.0
    return Reliability(float(np.sum(first * second)) / scale, float(chance))
