"""Published normative latencies and amplitudes of the click-evoked auditory brainstem response of adults.

Shapes: N recordings; columns of [N, 5] are waves I to V. Latencies in ms, amplitudes in uV (peak to the trough that
follows), levels in dB nHL, hearing loss in dB HL, rates in clicks per second. For the source of each
value, and whether it is published, rounded or chosen here, see docs/simulator.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcvae.arrays import FloatArray

REFERENCE_LEVEL_DB = 70.0
REFERENCE_RATE_HZ = 11.1
REFERENCE_AGE_YEARS = 30.0

# Wave V latency is a + b * 5^(-level / 100): the level term of Neely et al. (1988); a and b fitted to click norms.
WAVE_5_CENTRAL_MS = 4.35
WAVE_5_COCHLEAR_MS = 4.20
LEVEL_BASE = 5.0

# Latency of each wave before wave V (Chiappa et al. 1979: I 1.7, II 2.8, III 3.9, IV 5.1, V 5.7 ms).
BEFORE_WAVE_5_MS = np.array([4.00, 2.90, 1.85, 0.65, 0.0])

SEX_WAVE_5_MS = 0.2  # Jerger & Hall (1980): women are earlier
SEX_SHARE = np.array([0.25, 0.4, 0.5, 0.9, 1.0])
AGE_MS_PER_YEAR = 0.006  # all waves alike: the I-V interval does not change (Konrad-Martin et al. 2012)
RATE_WAVE_5_MS_PER_HZ = 0.5 / 90.0  # Don, Allen & Starr (1977): 0.5 ms from 10 to 100 clicks per second
RATE_SHARE = np.array([0.3, 0.45, 0.6, 0.9, 1.0])
LOSS_MS_PER_DB = 0.01  # Selters & Brackmann (1977): 0.1 ms per 10 dB
LOSS_FREE_DB = 20.0  # up to here hearing counts as normal

REFERENCE_AMPLITUDE_UV = np.array([0.30, 0.14, 0.28, 0.20, 0.50])
THRESHOLD_DB = np.array([30.0, 40.0, 25.0, 30.0, 10.0])  # level where the wave vanishes in normal hearing
GROWTH_DB = 40.0
SEX_AMPLITUDE_RATIO = 1.25  # Jerger & Hall (1980): larger in women
AGE_AMPLITUDE_PER_30_YEARS = np.array([0.75, 0.75, 0.75, 0.85, 0.90])
RATE_AMPLITUDE_LOSS_PER_HZ = np.array([0.5, 0.5, 0.4, 0.2, 0.1]) / 90.0

WIDTH_PER_DB = 0.008  # waves broaden below this level
NARROW_FROM_DB = 80.0


@dataclass(frozen=True)
class RecordingConditions:
    """The conditions of N recordings, which determine the expected responses."""

    level_db: FloatArray
    """Click level, dB nHL, [N]."""
    rate_hz: FloatArray
    """Clicks per second, [N]."""
    age_years: FloatArray
    """Age of the adult subject, years, [N]."""
    hearing_loss_db: FloatArray
    """Cochlear loss, mean of 2 to 4 kHz, dB HL, [N]."""
    female: NDArray[np.bool_]
    """Whether the subject is a woman, [N]."""

    def rows(self, rows: slice) -> "RecordingConditions":
        """Return the conditions of some of the recordings."""
        return RecordingConditions(
            self.level_db[rows],
            self.rate_hz[rows],
            self.age_years[rows],
            self.hearing_loss_db[rows],
            self.female[rows],
        )


def wave_latency_ms(condition: RecordingConditions) -> FloatArray:
    """Return the expected latency of waves I to V, ms, [N, 5].

    Level (Neely et al. 1988; Hood 1998), intervals between waves (Chiappa et al. 1979), sex and age (Jerger & Hall
    1980; Konrad-Martin et al. 2012), rate (Don et al. 1977), cochlear loss (Selters & Brackmann 1977).
    """
    wave_5 = WAVE_5_CENTRAL_MS + WAVE_5_COCHLEAR_MS * LEVEL_BASE ** (-condition.level_db / 100.0)
    wave_5 += AGE_MS_PER_YEAR * (condition.age_years - REFERENCE_AGE_YEARS)
    wave_5 += LOSS_MS_PER_DB * np.maximum(condition.hearing_loss_db - LOSS_FREE_DB, 0.0)
    sex = np.where(condition.female, -0.5, 0.5)[:, None] * SEX_WAVE_5_MS * SEX_SHARE
    rate = RATE_WAVE_5_MS_PER_HZ * (condition.rate_hz - REFERENCE_RATE_HZ)[:, None] * RATE_SHARE
    return np.asarray(wave_5[:, None] - BEFORE_WAVE_5_MS + sex + rate)


def wave_amplitude_uv(condition: RecordingConditions) -> FloatArray:
    """Return the expected amplitude of waves I to V, uV, [N, 5]; 0 at and below the wave's threshold.

    Growth with level above a threshold that the hearing loss raises dB for dB (Picton 2010; Hood 1998), sex and age
    (Jerger & Hall 1980; Konrad-Martin et al. 2012), rate (Picton 2010).
    """
    sensation_db = condition.level_db[:, None] - THRESHOLD_DB - condition.hearing_loss_db[:, None]
    growth = -np.expm1(-np.maximum(sensation_db, 0.0) / GROWTH_DB)
    growth /= -np.expm1(-(REFERENCE_LEVEL_DB - THRESHOLD_DB) / GROWTH_DB)
    sex = SEX_AMPLITUDE_RATIO ** np.where(condition.female, 0.5, -0.5)[:, None]
    age = AGE_AMPLITUDE_PER_30_YEARS ** ((condition.age_years - REFERENCE_AGE_YEARS)[:, None] / 30.0)
    rate = 1.0 - RATE_AMPLITUDE_LOSS_PER_HZ * (condition.rate_hz - REFERENCE_RATE_HZ)[:, None]
    return np.asarray(REFERENCE_AMPLITUDE_UV * growth * sex * age * rate)


def wave_width(condition: RecordingConditions) -> FloatArray:
    """Return the expected width of the waves relative to high levels, [N]: waves broaden as the level falls."""
    return np.asarray(1.0 + WIDTH_PER_DB * np.maximum(NARROW_FROM_DB - condition.level_db, 0.0))
