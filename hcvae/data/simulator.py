"""Simulated click-evoked auditory brainstem responses of adults, with the generative factors of each waveform.

The condition (level, rate, age, sex, hearing loss, averages) determines the expected response from published norms
(`hcvae.data.normative`); the factors modify it and are independent of the condition:

    waveform = gain * response(latency, interwave, width, ratio) + offset + trend + noise

Shapes: N rows, R recordings (two rows each: independent averages, halves 1 and 2), P subjects, T = 200 samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.arrays import FloatArray
from hcvae.data.normative import (
    BEFORE_WAVE_5_MS,
    THRESHOLD_DB,
    RecordingConditions,
    wave_amplitude_uv,
    wave_latency_ms,
    wave_width,
)
from hcvae.data.synthesis import (
    SAMPLING_RATE_HZ,
    SIGNAL_LENGTH,
    noise_waveforms,
    read_peaks,
    response_waveforms,
)
from hcvae.errors import UserError

RECORDINGS_PER_SUBJECT = 16
RATES_HZ = np.array([11.1, 21.1, 37.1, 51.1, 71.1])
AVERAGES = np.array([500, 1000, 2000, 4000])
MAX_LEVEL_DB = 90.0
MIN_LEVEL_DB = 10.0

SUBJECT_SHARE = 0.5  # fraction of each factor's variance that is between subjects
SINGLE_SWEEP_NOISE_UV = 1.5  # RMS in the band; 0.02 uV after 4000 sweeps, 0.07 uV after 500
UNLABELLED_SHARE = 0.1
_CHUNK_ROWS = 8192

# Position of each wave in the I-V interval: the fraction of a longer interval by which it is delayed.
_INTERWAVE_SHARE = 1.0 - BEFORE_WAVE_5_MS / BEFORE_WAVE_5_MS[0]
# A higher I/V ratio raises I and II more than it lowers IV and V, so that only the gain changes the overall size.
_RATIO_EXPONENT = np.array([0.8, 0.8, 0.0, -0.2, -0.2])
# Half a cosine over the window: the first coefficient of its discrete cosine transform, 50 Hz.
TREND_SHAPE = np.cos(np.pi * (np.arange(SIGNAL_LENGTH) + 0.5) / SIGNAL_LENGTH).astype(np.float32)

# name: (standard deviation, whether the logarithm is normally distributed); the mean or median has no effect
FACTORS: dict[str, tuple[float, bool]] = {
    "factor_gain": (0.35, True),
    "factor_offset_uv": (0.08, False),
    "factor_trend_uv": (0.08, False),
    "factor_latency_jitter_ms": (0.18, False),
    "factor_interwave_ms": (0.18, False),
    "factor_width": (0.18, True),
    "factor_relative_amplitude_1_5": (0.55, True),
    "factor_noise": (0.25, True),
}
COARSE_FACTORS = ("factor_gain", "factor_offset_uv", "factor_trend_uv")
FINE_FACTORS = (
    "factor_latency_jitter_ms",
    "factor_interwave_ms",
    "factor_width",
    "factor_relative_amplitude_1_5",
)


@dataclass(frozen=True)
class _Recordings:
    """R recordings: subject, condition and factors."""

    subject: NDArray[np.int64]
    condition: RecordingConditions
    n_averages: NDArray[np.int64]
    right_ear: NDArray[np.bool_]
    factors: dict[str, FloatArray]


def simulate(n: int, seed: int) -> pa.Table:
    """Simulate `n` averaged waveforms; the same (n, seed) gives the same table, bit for bit.

    A recording has two rows (half 1 and 2): the same noise-free waveform and factors with independent noise; if `n` is
    odd, the last recording has half 1 only. A subject has 16 recordings. Columns: those of the waveform table, with
    labelled peaks of waves I to V, and the `factor_*` columns described in docs/simulator.md.

    Raises:
        UserError: n is below 1, or the seed is negative.

    >>> table = simulate(4000, seed=0)
    >>> len(table["subject_id"].unique()), table.schema.metadata[b"sampling_rate_hz"]
    (125, b'20000')
    """
    if n < 1:
        raise UserError(f"simulate: the number of waveforms must be at least 1, but got n={n}")
    if seed < 0:
        raise UserError(f"simulate: the seed must be at least 0, but got seed={seed}")
    rng = np.random.default_rng(seed)
    recordings = _sample_recordings(rng, (n + 1) // 2)
    parts = []
    for start in range(0, n, _CHUNK_ROWS):
        rows = np.arange(start, min(start + _CHUNK_ROWS, n))
        parts.append(_render(rng, recordings, rows))
    arrays = list(map(np.concatenate, zip(*parts, strict=True)))
    return _table(recordings, np.arange(n), arrays)


def response_of(condition: RecordingConditions, factors: Mapping[str, FloatArray]) -> FloatArray:
    """Return the noise-free waveforms of a condition and factors, with offset and trend, in uV, [N, T].

    Args:
        condition: conditions of N recordings.
        factors: values of each of `COARSE_FACTORS` and `FINE_FACTORS`, [N].
    """
    return np.asarray(response_waveforms(*_waves(condition, factors)) + _drift(factors))


def _sample_recordings(rng: np.random.Generator, count: int) -> _Recordings:
    subject = np.arange(count) // RECORDINGS_PER_SUBJECT
    subjects = int(subject[-1]) + 1
    age = rng.uniform(18.0, 80.0, subjects)
    # Loss grows with the square of the years after 18, the form of ISO 7029; 0 is normal hearing or better.
    loss = np.clip(0.007 * (age - 18.0) ** 2 + rng.normal(0.0, 8.0, subjects), 0.0, 60.0)
    female = rng.random(subjects) < 0.5
    right_ear = rng.random(subjects) < 0.5
    condition = RecordingConditions(
        level_db=_sample_levels(rng, loss[subject]),
        rate_hz=rng.choice(RATES_HZ, count),
        age_years=age[subject],
        hearing_loss_db=loss[subject],
        female=female[subject],
    )
    n_averages = rng.choice(AVERAGES, count)
    return _Recordings(subject, condition, n_averages, right_ear[subject], _sample_factors(rng, subject, subjects))


def _sample_levels(rng: np.random.Generator, loss_db: FloatArray) -> FloatArray:
    """Sample levels [R] in steps of 10 dB, from the step at or just below the threshold of wave V to 90 dB nHL.

    Higher levels are more frequent, as in recordings, where few levels are near the threshold.
    """
    lowest = np.maximum(10.0 * np.floor((THRESHOLD_DB[-1] + loss_db) / 10.0), MIN_LEVEL_DB)
    steps = (MAX_LEVEL_DB - lowest) / 10.0 + 1.0
    return np.asarray(lowest + 10.0 * np.floor(rng.random(len(loss_db)) ** 0.6 * steps))


def _sample_factors(rng: np.random.Generator, subject: NDArray[np.int64], subjects: int) -> dict[str, FloatArray]:
    """Sample each factor [R]; `SUBJECT_SHARE` of its variance is between subjects, the rest between recordings."""
    factors = {}
    for name, (deviation, is_log) in FACTORS.items():
        between = np.sqrt(SUBJECT_SHARE) * rng.standard_normal(subjects)[subject]
        within = np.sqrt(1.0 - SUBJECT_SHARE) * rng.standard_normal(len(subject))
        value = deviation * (between + within)
        factors[name] = np.exp(value) if is_log else value
    return factors


def _render(
    rng: np.random.Generator, recordings: _Recordings, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return waveforms and peak labels of `rows`: signal [N, T], latency [N, 5], amplitude [N, 5], validity [N, 5]."""
    first = rows[0] // 2
    chosen = slice(first, rows[-1] // 2 + 1)
    condition = recordings.condition.rows(chosen)
    factors = {name: values[chosen] for name, values in recordings.factors.items()}
    latency_ms, amplitude_uv, width = _waves(condition, factors)
    responses = response_waveforms(latency_ms, amplitude_uv, width)
    peaks = read_peaks(responses, latency_ms, amplitude_uv)

    of_row = rows // 2 - first
    noise_uv = SINGLE_SWEEP_NOISE_UV * factors["factor_noise"] / np.sqrt(recordings.n_averages[chosen])
    signals = (responses + _drift(factors))[of_row] + noise_waveforms(rng, noise_uv[of_row])
    labelled = rng.random((len(rows), 5)) >= UNLABELLED_SHARE
    valid = peaks[2][of_row] & labelled
    latency = np.where(valid, peaks[0][of_row], np.float32(np.nan))
    amplitude = np.where(valid, peaks[1][of_row], np.float32(np.nan))
    return signals.astype(np.float32), latency, amplitude, valid


def _waves(
    condition: RecordingConditions, factors: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return latencies in ms and amplitudes in uV of waves I to V, both [N, 5], and width factors [N]."""
    shift = factors["factor_latency_jitter_ms"][:, None] + factors["factor_interwave_ms"][:, None] * _INTERWAVE_SHARE
    ratio = factors["factor_relative_amplitude_1_5"][:, None] ** _RATIO_EXPONENT
    amplitude_uv = wave_amplitude_uv(condition) * ratio * factors["factor_gain"][:, None]
    return wave_latency_ms(condition) + shift, amplitude_uv, wave_width(condition) * factors["factor_width"]


def _drift(factors: Mapping[str, FloatArray]) -> FloatArray:
    """Return offset and trend in uV, [N, T]."""
    return np.asarray(factors["factor_offset_uv"][:, None] + factors["factor_trend_uv"][:, None] * TREND_SHAPE)


def _table(recordings: _Recordings, rows: NDArray[np.int64], arrays: list[NDArray[np.generic]]) -> pa.Table:
    of_row = rows // 2
    subject = recordings.subject[of_row]
    condition = recordings.condition
    index = _index_within(recordings.subject, condition.level_db)[of_row]
    names = np.char.add("sim-", np.char.zfill(subject.astype(str), 6))
    columns: dict[str, pa.Array] = {
        "record_id": pa.array(np.char.add("sim-", np.char.zfill(rows.astype(str), 8))),
        "dataset": pa.array(np.full(len(rows), "simulator")),
        "species": pa.array(np.full(len(rows), "human")),
        "subject_id": pa.array(names),
        "ear": pa.array(np.where(recordings.right_ear, "R", "L")[of_row]),
        "sex": pa.array(np.where(condition.female, "F", "M")[of_row]),
        "age_years": pa.array(condition.age_years[of_row].astype(np.float32)),
        "hearing_loss_db": pa.array(condition.hearing_loss_db[of_row].astype(np.float32)),
        "stimulus_type": pa.array(np.full(len(rows), "click")),
        "stimulus_level_db": pa.array(condition.level_db[of_row].astype(np.float32)),
        "stimulus_rate_hz": pa.array(condition.rate_hz[of_row].astype(np.float32)),
        "n_averages": pa.array(recordings.n_averages[of_row].astype(np.int32)),
        "recording_index": pa.array(index.astype(np.int32)),
        "half": pa.array((rows % 2 + 1).astype(np.int8)),
        "signal": _lists(arrays[0]),
        "peak_latency_ms": _lists(arrays[1]),
        "peak_amplitude_uv": _lists(arrays[2]),
        "peak_valid": _lists(arrays[3]),
    }
    for name, values in recordings.factors.items():
        columns[name] = pa.array(values[of_row].astype(np.float32))
    metadata = {
        "sampling_rate_hz": f"{SAMPLING_RATE_HZ:.0f}",
        "source": "hcvae.data.simulator",
        "licence": "none needed for simulated waveforms",
    }
    return pa.table(columns).replace_schema_metadata(metadata)


def _index_within(subject: NDArray[np.int64], level_db: FloatArray) -> NDArray[np.int64]:
    """Count the recordings [R] of each subject and level from 1, in order."""
    order = np.lexsort((level_db, subject))
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (np.diff(subject[order]) != 0) | (np.diff(level_db[order]) != 0)
    starts = np.flatnonzero(is_new)
    position = np.arange(len(order)) - starts[np.cumsum(is_new) - 1]
    index = np.empty_like(order)
    index[order] = position + 1
    return index


def _lists(values: NDArray[np.generic]) -> pa.FixedSizeListArray:
    """Convert the rows of a matrix to fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
