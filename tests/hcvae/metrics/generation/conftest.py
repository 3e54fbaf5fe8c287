"""Simulated recordings of independent subjects, as arrays."""

from dataclasses import dataclass

import numpy as np
import pytest

from hcvae.data.simulator import RECORDINGS_PER_SUBJECT, simulate
from hcvae.metrics.generation import Labelled

ROWS_PER_SUBJECT = 2 * RECORDINGS_PER_SUBJECT


@dataclass(frozen=True)
class Simulated:
    """One row of each of n subjects."""

    signals: np.ndarray
    level: np.ndarray
    sex: np.ndarray
    averages: np.ndarray
    wave_v_ms: np.ndarray

    @property
    def labelled(self) -> Labelled:
        return Labelled(self.signals, self.level, self.sex)


def independent_rows(n: int, seed: int) -> Simulated:
    table = simulate(n * ROWS_PER_SUBJECT, seed).take(np.arange(n) * ROWS_PER_SUBJECT)

    def matrix(name):
        return table[name].combine_chunks().flatten().to_numpy().reshape(n, -1).astype(float)

    return Simulated(
        signals=matrix("signal"),
        level=table["stimulus_level_db"].to_numpy().astype(float),
        sex=table["sex"].to_numpy().astype(str),
        averages=table["n_averages"].to_numpy(),
        wave_v_ms=matrix("peak_latency_ms")[:, 4],
    )


@pytest.fixture(scope="session")
def recorded() -> Simulated:
    return independent_rows(2000, seed=1)


@pytest.fixture(scope="session")
def resampled() -> Simulated:
    """The output of a perfect generator: the same distribution, other subjects."""
    return independent_rows(2000, seed=2)


@pytest.fixture(scope="session")
def trained_on() -> Simulated:
    return independent_rows(2000, seed=3)
