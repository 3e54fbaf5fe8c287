"""Metrics of generated waveforms: whether they are distributed as recordings are, useful, and new.

Distribution: `frechet_distance`, `maximum_mean_discrepancy`, `precision_recall_density_coverage`, on waveforms or on
`physiological_features`, `standardised`. Use: `train_on_synthetic`. Condition: `conditional_consistency`. Copying:
`memorisation`. All accept numpy arrays and are deterministic for a seed.

Recorded averages contain noise. Waveforms without noise differ from them, and are nearer to them than another recording
is. Add the recordings' noise to a decoder's mean before comparing it with them.
"""

from hcvae.metrics.generation.arrays import standardised
from hcvae.metrics.generation.consistency import ConditionalConsistency, LevelLatency, conditional_consistency
from hcvae.metrics.generation.discrepancy import maximum_mean_discrepancy
from hcvae.metrics.generation.downstream import Labelled, TrainOnSynthetic, train_on_synthetic
from hcvae.metrics.generation.features import HUMAN_CLICK_WINDOWS_MS, physiological_features
from hcvae.metrics.generation.frechet import frechet_distance
from hcvae.metrics.generation.memorisation import Memorisation, memorisation
from hcvae.metrics.generation.neighbours import (
    PrecisionRecallDensityCoverage,
    expected_coverage,
    precision_recall_density_coverage,
)

__all__ = [
    "HUMAN_CLICK_WINDOWS_MS",
    "ConditionalConsistency",
    "Labelled",
    "LevelLatency",
    "Memorisation",
    "PrecisionRecallDensityCoverage",
    "TrainOnSynthetic",
    "conditional_consistency",
    "expected_coverage",
    "frechet_distance",
    "maximum_mean_discrepancy",
    "memorisation",
    "physiological_features",
    "precision_recall_density_coverage",
    "standardised",
    "train_on_synthetic",
]
