"""Generated waveforms compared with recorded ones, by every measure of `hcvae.metrics.generation`.

Shapes: N rows, T samples, F features.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hcvae.config import DataConfig
from hcvae.data.dataset import Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.table import LEVEL, SPECIES
from hcvae.errors import UserError
from hcvae.evaluation.findings import Findings, names_of
from hcvae.evaluation.rows import GROUPS, EvaluationRows, Sample
from hcvae.metrics.generation import (
    Labelled,
    TrainOnSynthetic,
    conditional_consistency,
    expected_coverage,
    frechet_distance,
    maximum_mean_discrepancy,
    memorisation,
    physiological_features,
    precision_recall_density_coverage,
    standardised,
    train_on_synthetic,
)
from hcvae.metrics.peaks import FAR_MS
from hcvae.models import Model
from hcvae.peaks import valid_waves
from hcvae.training.evaluation import sampled_peaks

MAX_ROWS = 2000
"""Recordings compared by the measures of distribution."""
MIN_LEVEL_DB = 40.0
"""Level below which waves of human clicks lie outside the windows of the features."""
NO_TRAINING_ROWS = "needs the training rows, which are read only with the bundle's own data (without --data)"


def sample_conditions(model: Model, part: Part, seed: int) -> NDArray[np.float32]:
    """Sample one normalised waveform from the model's prior for the condition of each row, [N, T].

    With residual noise, as they are compared with recorded averages.
    """
    generator = torch.Generator().manual_seed(seed)
    sampled = model.sample(torch.from_numpy(part.static), residual_noise=True, generator=generator)
    signals: NDArray[np.float32] = sampled["generated_signals"].numpy()
    return signals


def generation_findings(
    findings: Findings,
    made: Sample,
    rows: EvaluationRows,
    config: DataConfig,
    sampling_rate_hz: float,
    *,
    are_copies: bool = False,
    seed: int = 0,
) -> None:
    """Compare `made` with the recorded rows, and add the measures to `findings`.

    Args:
        findings: of the model so far.
        made: generated waveforms (or training waveforms, for the best values that can be reached).
        rows: the recordings.
        config: names subjects, recordings and conditions.
        sampling_rate_hz: of the waveforms.
        are_copies: whether `made` are training rows, so that copying need not be measured.
        seed: of all random choices.
    """
    recorded = rows.recorded
    real = recorded.take(recorded.one_per_recording(config, MAX_ROWS, seed))
    fake = made.take(made.one_per_recording(config, len(real), seed))
    findings.measure(
        names_of("Generation: waveforms"), lambda: _distribution(real.signals, fake.signals, "waveforms", seed)
    )
    findings.measure(names_of("Generation: features"), lambda: _features(real, fake, sampling_rate_hz, seed))
    findings.measure(
        ("wave_v_difference_ms", "wave_v_spearman", "wave_v_spearman_recorded"),
        lambda: _wave_v(recorded, made, config, sampling_rate_hz),
    )
    _usefulness(findings, made, rows, config, seed)
    _memorisation(findings, real, fake, rows, are_copies)


def peak_findings(
    findings: Findings, model: Model, rows: EvaluationRows, preprocessing: Preprocessing, seed: int
) -> None:
    """Measure how well predicted peaks lie on their waveforms, sampled without noise for the condition of each row."""
    static = torch.from_numpy(rows.part.static)
    findings.measure((), lambda: sampled_peaks(model, static, preprocessing, torch.Generator().manual_seed(seed)))
    picked = ("generated_wave_v_distance_ms", "generated_wave_v_far")
    if "V" in preprocessing.labelled_waves:
        findings.measure(picked, lambda: _picked_wave_v(model, rows, preprocessing, seed))
    findings.leave_out(
        names_of("Generation: peaks"), "no training row has this peak labelled, or no predicted one is possible"
    )


def _picked_wave_v(model: Model, rows: EvaluationRows, preprocessing: Preprocessing, seed: int) -> dict[str, float]:
    """Compare the predicted wave V with the one that `physiological_features` picks on the same waveform."""
    readable = _readable(rows.recorded)
    sampled = model.sample(torch.from_numpy(rows.part.static), generator=torch.Generator().manual_seed(seed))
    signals_uv = preprocessing.in_uv(sampled["generated_signals"].numpy(), rows.part.static)
    features, names = physiological_features(signals_uv[readable], preprocessing.sampling_rate_hz)
    peaks = sampled["generated_peaks"][readable]
    valid = valid_waves(peaks, preprocessing)[:, 2].numpy()
    if not valid.any():
        return {}
    predicted_ms = peaks[:, 2].numpy()
    distance_ms = np.abs(features[:, names.index("latency_V_ms")] - predicted_ms)[valid]
    return {
        "generated_wave_v_distance_ms": np.median(distance_ms),
        "generated_wave_v_far": np.mean(distance_ms > FAR_MS),
    }


def _distribution(real: ArrayLike, fake: ArrayLike, suffix: str, seed: int) -> dict[str, float]:
    first = np.asarray(real, np.float64)
    second = np.asarray(fake, np.float64)
    neighbours = precision_recall_density_coverage(first, second)
    found = {
        "frechet": frechet_distance(first, second),
        "mmd": maximum_mean_discrepancy(first, second, seed=seed),
        **vars(neighbours),
        "expected_coverage": expected_coverage(len(first), len(second)),
    }
    return {f"{name}_{suffix}": value for name, value in found.items()}


def _features(real: Sample, fake: Sample, sampling_rate_hz: float, seed: int) -> dict[str, float]:
    first, _ = _readable_features(real, sampling_rate_hz)
    second, _ = _readable_features(fake, sampling_rate_hz)
    return _distribution(*standardised(first, second), "features", seed)


def _readable_features(sample: Sample, sampling_rate_hz: float) -> tuple[NDArray[np.float64], Sequence[str]]:
    """Return the features [N, F] of the readable rows, and their names."""
    return physiological_features(sample.take(_readable(sample)).signals_uv, sampling_rate_hz)


def _wave_v(recorded: Sample, made: Sample, config: DataConfig, sampling_rate_hz: float) -> dict[str, float]:
    _check_conditioned(LEVEL, config)
    levels = []
    latencies = []
    for sample in (made, recorded):
        readable = sample.take(_readable(sample))
        features, names = physiological_features(readable.signals_uv, sampling_rate_hz)
        levels.append(readable.numbers(LEVEL))
        latencies.append(features[:, names.index("latency_V_ms")])
    found = conditional_consistency(levels[0], latencies[0], levels[1], latencies[1])
    return {
        "wave_v_difference_ms": found.mean_difference_ms,
        "wave_v_spearman": found.generated.spearman,
        "wave_v_spearman_recorded": found.reference.spearman,
    }


def _usefulness(findings: Findings, made: Sample, rows: EvaluationRows, config: DataConfig, seed: int) -> None:
    """Measure predictors of level and group that are trained on `made`, on real rows."""
    by_level = ("level_r2_synthetic", "level_r2_real")
    by_group = ("group_auc_synthetic", "group_auc_real")
    train = rows.train
    if train is None:
        findings.leave_out((*by_level, *by_group), NO_TRAINING_ROWS)
        return
    if rows.is_training_part:
        findings.leave_out((*by_level, *by_group), "needs held-out rows, but the training part is evaluated")
        return
    samples = [made, train, rows.recorded]
    group = _group_column(samples, config)
    if group is None:
        findings.leave_out(by_group, f"none of {list(GROUPS)} conditions the model and has two values in each part")

    def scores() -> dict[str, float]:
        _check_conditioned(LEVEL, config)
        labelled = [_labelled(sample, group) for sample in samples]
        return _measured(train_on_synthetic(*labelled, seed=seed), (*by_level, *by_group))

    findings.measure((*by_level, *by_group), scores)
    if group is not None:
        findings.details["group"] = group


def _measured(usefulness: TrainOnSynthetic, names: Iterable[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name in names:
        value = getattr(usefulness, name)
        if value is not None:
            values[name] = value
    return values


def _memorisation(findings: Findings, real: Sample, fake: Sample, rows: EvaluationRows, are_copies: bool) -> None:
    names = ("memorisation_share_nearer", "memorisation_z")
    if are_copies or rows.is_training_part:
        findings.leave_out(names, "training rows are their own nearest training rows")
        return
    if rows.train is None:
        findings.leave_out(names, NO_TRAINING_ROWS)
        return
    train = rows.train.signals

    def scores() -> dict[str, float]:
        found = memorisation(fake.signals, train, real.signals)
        return {"memorisation_share_nearer": found.share_nearer, "memorisation_z": found.z}

    findings.measure(names, scores)


def _readable(sample: Sample) -> NDArray[np.int64]:
    """Return the rows whose waves lie in the windows of the features: human, and of 40 dB or more if a level is known.

    Raises:
        UserError: there is none.
    """
    readable = np.ones(len(sample), bool)
    species = sample.texts(SPECIES)
    if species is not None:
        readable &= np.isin(species, ("human", ""))
    if LEVEL in sample.table.column_names:
        readable &= ~(sample.numbers(LEVEL) < MIN_LEVEL_DB)
    if not readable.any():
        found = ""
        if species is not None:
            found = f" of {sorted(set(species.tolist()))}"
        raise UserError(
            f"features: their windows are those of human clicks of {MIN_LEVEL_DB:g} dB or more, "
            f"but got no such row among {len(sample)}{found}"
        )
    return np.flatnonzero(readable)


def _labelled(sample: Sample, group: str | None) -> Labelled:
    sample = sample.take(np.flatnonzero(np.isfinite(sample.numbers(LEVEL))))
    groups = None
    if group is not None:
        groups = sample.texts(group)
    return Labelled(sample.signals.astype(np.float64), sample.numbers(LEVEL), groups)


def _group_column(samples: Sequence[Sample], config: DataConfig) -> str | None:
    """Return the first column of `GROUPS` that conditions the model and has the same two values in all samples."""
    for name in GROUPS:
        if name not in config.static:
            continue
        values = [_values(sample, name) for sample in samples]
        if len(values[0]) == 2 and values.count(values[0]) == len(values):
            return name
    return None


def _values(sample: Sample, name: str) -> set[str]:
    column = sample.texts(name)
    if column is None:
        return set()
    return set(column.tolist())


def _check_conditioned(column: str, config: DataConfig) -> None:
    if column not in config.static:
        raise UserError(f"the model is not conditioned on {column!r}, only on {list(config.static)}")
