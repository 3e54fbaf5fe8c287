"""Regression of attributes on the condition, and the residuals beyond it.

Shapes: N rows, S static parameters, D coordinates of the attribute.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from hcvae.arrays import FloatArray
from hcvae.counting import counted
from hcvae.errors import NotMeasurable

ROWS_PER_RANK = 3
RELATIVE_TOLERANCE = 1e-6
"""Tolerance of the rank: above the rounding of float32 conditions, far below any column with information."""


@dataclass(frozen=True)
class ConditionResidual:
    """Least-squares regression on intercept, linear terms, squares and cross-products of the condition."""

    basis: FloatArray
    """Orthonormal basis of the design's column space, [N, rank]."""

    @classmethod
    def fit(cls, condition: FloatArray) -> "ConditionResidual":
        """Factorise the design. Its rank is determined numerically, as one-hot columns make most designs collinear.

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
                f"{counted(len(design), 'waveform')} are too few for a condition of "
                f"{counted(rank, 'independent term')} (intercept, linear, squares, products): "
                f"{ROWS_PER_RANK * rank} are needed, or fewer static columns"
            )
        return cls(np.ascontiguousarray(orthogonal[:, :rank]))

    @property
    def degrees_of_freedom(self) -> int:
        """Residual degrees of freedom: number of rows minus rank."""
        return int(self.basis.shape[0] - self.basis.shape[1])

    def residual(self, values: FloatArray) -> FloatArray:
        """Return the residuals of values [N, D]; the mean of each coordinate is 0."""
        return values - self.basis @ (self.basis.T @ values)

    def residuals(self, attributes: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return the residuals of each attribute [N, D], by name."""
        return {name: self.residual(values) for name, values in attributes.items()}

    def covariance(self, first: FloatArray, second: FloatArray) -> float:
        """Return the covariance of two residuals [N, D], summed over the coordinates."""
        return float(np.sum(first * second) / self.degrees_of_freedom)


def _design(condition: FloatArray) -> FloatArray:
    """Return the design with columns of unit length, [N, 1 + S + S (S + 1) / 2], without constant condition columns."""
    varying = condition[:, np.ptp(condition, axis=0) > 0]
    linear = varying - varying.mean(axis=0)
    left, right = np.triu_indices(linear.shape[1])
    design = np.column_stack([np.ones(len(linear)), linear, linear[:, left] * linear[:, right]])
    length = np.linalg.norm(design, axis=0)
    return design / np.where(length > 0, length, 1.0)
