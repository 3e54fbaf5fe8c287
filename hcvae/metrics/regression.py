"""What the condition explains of an attribute, and what it leaves.

Shapes: N rows, S static parameters, D coordinates of the attribute.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from hcvae.errors import NotMeasurable

ROWS_PER_RANK = 3
RELATIVE_TOLERANCE = 1e-6  # above the rounding of float32 conditions, far below any column that carries something


@dataclass(frozen=True)
class ConditionResidual:
    """Least squares on intercept, linear terms, squares and cross-products of the condition."""

    basis: NDArray[np.float64]
    """Orthonormal columns that span the design, [N, rank]."""

    @classmethod
    def fit(cls, condition: NDArray[np.float64]) -> "ConditionResidual":
        """Factor the design once; its rank is numerical, as one-hot columns make most designs collinear.

        Args:
            condition: encoded static parameters, [N, S].

        Raises:
            NotMeasurable: fewer rows than three times the rank.
        """
        design = _design(condition)
        orthogonal, triangle, _ = qr(design, mode="economic", pivoting=True)
        pivots = np.abs(np.diag(triangle))
        rank = int(np.sum(pivots > RELATIVE_TOLERANCE * pivots[0]))
        if len(design) < ROWS_PER_RANK * rank:
            raise NotMeasurable(
                f"{len(design)} waveforms are too few for a condition of {rank} independent terms (intercept, linear, "
                f"squares, products): {ROWS_PER_RANK * rank} are needed, or fewer static columns"
            )
        return cls(np.ascontiguousarray(orthogonal[:, :rank]))

    @property
    def freedom(self) -> int:
        """Degrees of freedom that the condition leaves: rows beyond the rank."""
        return int(self.basis.shape[0] - self.basis.shape[1])

    def residual(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the condition leaves of values [N, D]; the mean of each coordinate is 0."""
        return values - self.basis @ (self.basis.T @ values)

    def covariance(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
        """Covariance of two residuals [N, D] beyond the condition, summed over the coordinates."""
        return float(np.sum(first * second) / self.freedom)


def _design(condition: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of unit length [N, 1 + S + S (S + 1) / 2]; columns of the condition that do not vary are dropped."""
    varying = condition[:, np.ptp(condition, axis=0) > 0]
    linear = varying - varying.mean(axis=0)
    left, right = np.triu_indices(linear.shape[1])
    design = np.column_stack([np.ones(len(linear)), linear, linear[:, left] * linear[:, right]])
    length = np.linalg.norm(design, axis=0)
    return design / np.where(length > 0, length, 1.0)
