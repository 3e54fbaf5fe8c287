"""Range of the labelled peaks of the training rows, and the limits it sets to predicted ones.

Peaks [N, 6]: latencies of waves I, III, V in ms, then their amplitudes in uV.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hcvae.config import Section

Wave = Literal["I", "III", "V"]
"""Waves that the peak head predicts."""
MODEL_WAVES: tuple[Wave, ...] = ("I", "III", "V")
LATENCY_MARGIN_MS = 1.0
"""Least distance of a limit from the labelled latencies: some tables have a few labels that hardly differ."""


class PeakLimits(Section):
    """Values of a predicted peak that the labels in training leave possible, both ends included."""

    latency_ms: tuple[float, float]
    amplitude_uv: tuple[float, float]


@dataclass(frozen=True)
class PeakRange:
    """Smallest and largest labelled value of each column of peaks."""

    minimum: NDArray[np.float64]
    """Infinite where no row has a label [6]."""
    maximum: NDArray[np.float64]
    """Minus infinite where no row has a label [6]."""

    @classmethod
    def of(cls, peaks: NDArray[np.float32], mask: NDArray[np.bool_]) -> Self:
        """Return the range of `peaks` [N, 6] where `mask` [N, 6] is true."""
        minimum = np.min(peaks, axis=0, where=mask, initial=np.inf)
        maximum = np.max(peaks, axis=0, where=mask, initial=-np.inf)
        return cls(minimum.astype(np.float64), maximum.astype(np.float64))

    def merged(self, other: "PeakRange") -> "PeakRange":
        """Return the range of the rows of both."""
        return PeakRange(np.minimum(self.minimum, other.minimum), np.maximum(self.maximum, other.maximum))

    def limits(self) -> dict[Wave, PeakLimits]:
        """Return the limits of each wave that has a label: the range, extended at both ends.

        Conditions beyond the recorded ones move peaks. Latencies are extended by half their range and at least by
        `LATENCY_MARGIN_MS`, amplitudes by twice the largest one.
        """
        limits: dict[Wave, PeakLimits] = {}
        for latency, wave in enumerate(MODEL_WAVES):
            amplitude = latency + len(MODEL_WAVES)
            if np.isfinite(self.minimum[latency]):
                largest = max(abs(self.minimum[amplitude]), abs(self.maximum[amplitude]))
                limits[wave] = PeakLimits(
                    latency_ms=self._extended(latency, max(LATENCY_MARGIN_MS, self._width(latency) / 2)),
                    amplitude_uv=self._extended(amplitude, 2 * largest),
                )
        return limits

    def _width(self, column: int) -> float:
        return float(self.maximum[column] - self.minimum[column])

    def _extended(self, column: int, margin: float) -> tuple[float, float]:
        return float(self.minimum[column] - margin), float(self.maximum[column] + margin)
