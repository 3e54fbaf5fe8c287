"""How much of an attribute a model carries beyond the condition, judged by an independent average or by its input.

Shapes: N rows, D coordinates of an attribute. Residuals are those of the regression on the condition.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from hcvae.arrays import FloatArray
from hcvae.metrics.regression import ConditionResidual

CHANCE_PROBABILITY = norm.sf(3.0)
"""Probability of exceeding 3 standard deviations of a normal, 1 in 741."""
SUFFICIENT_PAIRS = 34
"""Pairs for which a correlation of 0.5 is above chance for any attribute (Student's t with 32 degrees of freedom)."""

Attributes = dict[str, FloatArray]
"""Values of each attribute [N, D], by name."""


class Reliability(NamedTuple):
    """How well two independent averages agree in an attribute beyond the condition."""

    correlation: float
    """Correlation of the two averages."""
    chance: float
    """The value that the correlation of permuted pairs exceeds in 1 of 741 cases."""


@dataclass(frozen=True)
class InputReference:
    """Fidelity to the encoded waveform, for data without a second average."""

    attributes: Attributes
    """Attributes of the encoded waveforms, each [N, D]."""
    variances: dict[str, float]
    """The variances of the attributes beyond the condition, by name."""
    n_pairs: ClassVar[int] = 0
    """There are no independent averages."""

    def reliability(self, name: str) -> Reliability | None:
        """Return None: one average does not show how much of it is noise."""
        return None

    def fidelity(self, name: str, reconstructed: FloatArray) -> float:
        """Return 1 - MSE / variance, between 0 and 1; 0 without variance."""
        variance = self.variances[name]
        if not variance > 0:
            return 0.0
        error = float(np.sum((reconstructed - self.attributes[name]) ** 2) / len(reconstructed))
        return float(np.clip(1 - error / variance, 0, 1))


@dataclass(frozen=True)
class IndependentReference:
    """Fidelity to an independent average of the same recording, on the rows that have one.

    The noise of two averages is uncorrelated: copying the input's noise does not raise the fidelity, removing it does
    not lower it, and an ideal denoiser has fidelity 1.
    """

    rows: NDArray[np.bool_]
    """Which of all rows have an independent average; N are true."""
    regression: ConditionResidual
    """The regression on the condition, of these rows."""
    residuals: Attributes
    """Residuals of the encoded waveforms' attributes, each [N, D]."""
    independent: Attributes
    """Residuals of the independent averages' attributes, each [N, D]."""

    @property
    def n_pairs(self) -> int:
        """N, the number of rows with an independent average."""
        return int(self.rows.sum())

    def reliability(self, name: str) -> Reliability:
        """Return how well the two averages agree."""
        return _agreement(self.residuals[name], self.independent[name], self.regression.degrees_of_freedom)

    def fidelity(self, name: str, reconstructed: FloatArray) -> float:
        """Return Cov(reconstruction, independent) / Cov(input, independent) beyond the condition, between 0 and 1.

        It is 0 if the reconstruction agrees with the independent average no better than chance: the score takes a
        square root, which would amplify a small coincidence. Defined for attributes whose reliability is above chance.
        """
        model = self.regression.residual(reconstructed[self.rows])
        agreement = _agreement(model, self.independent[name], self.regression.degrees_of_freedom)
        if agreement.correlation <= agreement.chance:
            return 0.0
        kept = self.regression.covariance(model, self.independent[name])
        shared = self.regression.covariance(self.residuals[name], self.independent[name])
        return float(np.clip(kept / shared, 0, 1))


def _agreement(first: FloatArray, second: FloatArray, free: int) -> Reliability:
    """Return the correlation of residuals [N, D], summed over coordinates, and its value under random pairing.

    Under permutation the summed product has mean 0 and the exact variance sum_ij <r_i, r'_j>^2 / (N - 1), for
    residuals r, r' of mean 0 (Hoeffding 1951, Ann. Math. Statist. 22:558), so no permutations are sampled. Beyond a
    condition, the `free` degrees of freedom of the regression replace N - 1. A correlation of this variance is that of
    a certain number of pairs of numbers. It follows Student's t, which limits it to values below 1 for few pairs.
    """
    scatter_first = first.T @ first
    scatter_second = second.T @ second
    scale = float(np.sqrt(np.trace(scatter_first) * np.trace(scatter_second)))
    together = float(np.sum(scatter_first * scatter_second))
    if together == 0:
        return Reliability(0.0, 0.0)
    degrees = free * scale**2 / together - 1
    quantile = np.inf
    if degrees > 0:
        quantile = float(student_t.isf(CHANCE_PROBABILITY, degrees))
    chance = 1.0
    if np.isfinite(quantile):
        chance = float(1 / np.sqrt(1 + degrees / quantile**2))
    return Reliability(float(np.sum(first * second)) / scale, chance)
