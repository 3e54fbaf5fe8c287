"""From a configuration and its data to a model bundle."""

from dataclasses import dataclass
from pathlib import Path

import torch

from hcvae.bundle import Bundle, nonfinite_to_none, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.data.streaming import SAMPLE_ROWS
from hcvae.metrics.routing_data import RoutingData
from hcvae.models import build, outline
from hcvae.readiness import routing_or_reason, unmeasured
from hcvae.retrying import retry
from hcvae.training.configuration import pick_device, resolve
from hcvae.training.diagnosis import diagnose
from hcvae.training.evaluation import ROUTING_METRICS, EvaluationPart, evaluate, intervals, sampled_peaks
from hcvae.training.loop import Chosen, FitResult, Report, Saved, fit
from hcvae.training.objective import Objective
from hcvae.training.start import starting_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

Metrics = dict[str, dict[str, float]]
"""Metrics by the part of the split."""


@dataclass(frozen=True)
class Measurable:
    """What a training can measure on its data."""

    metrics: frozenset[str]
    """Names of the metrics of the validation part, each a number for every epoch."""
    not_measured: dict[str, str]
    """Why disentanglement cannot be measured, by the part of the split: a training runs without it."""


def preflight(config: Config, data: Dataset, workers: int = 1) -> Measurable:
    """Check, before any long work, that `config` can be trained and measured on `data`.

    Raises:
        UserError: a batch is too small for the workers, there is no such device, the model is too large for a bundle,
            it cannot start from `training.start_from`, or all waveforms of a part are the same.
    """
    config = resolve(config, data, workers)
    pick_device(config.training.device)
    outline(config.model)
    starting_weights(config, data)
    model = build(config.model.model_copy(update={"width": 0.01}))
    cpu = torch.device("cpu")
    objective = Objective(config)
    evaluate(model, EvaluationPart.of(data.test, cpu, data.preprocessing), objective)
    metrics = set(evaluate(model, EvaluationPart.of(data.validation, cpu, data.preprocessing), objective))
    not_measured = unmeasured(data)
    if "validation" not in not_measured:
        metrics.update(ROUTING_METRICS)
    return Measurable(frozenset(metrics | {"seconds_so_far"}), not_measured)


def train_bundle(
    config: Config,
    data: Dataset,
    folder: Path,
    report: Report | None = None,
    saved: Saved | None = None,
    chosen: Chosen | None = None,
    events: Path | None = None,
) -> FitResult:
    """Train as `fit` does, and write the best epoch's model, ready to generate, to `folder`/bundle with test metrics.

    A training that `report` stopped leaves its checkpoint and no bundle.

    Raises:
        UserError, TrainingDiverged, StorageError: as `fit`.
    """
    result = fit(config, data, folder, report, saved, chosen, events)
    if Workers.current().is_rank_0 and not result.stopped:
        validation = PartTensors.of(data.validation, result.device)
        _fit_generation(result, data, validation)
        _write_bundle(result, data, validation, folder / "bundle")
    return result


def _fit_generation(result: FitResult, data: Dataset, validation: PartTensors) -> None:
    """Fit the prior and the residual noise of the model."""
    generator = torch.Generator().manual_seed(result.config.training.seed)
    train = _sample(PartTensors.of(data.train, result.device), generator)
    held_out = _sample(validation, generator)
    result.model.fit_generation(train.signals, train.static, (held_out.signals, held_out.static), generator=generator)


def _write_bundle(result: FitResult, data: Dataset, validation: PartTensors, target: Path) -> None:
    routing, unmeasured_reasons = routing_or_reason(data)
    metrics = _metrics(result, data, validation, routing.get("test"))
    findings = diagnose(result.config, result.history, metrics["validation"])
    bundle = Bundle(result.model.cpu(), result.config, data.preprocessing, metrics, nonfinite_to_none(result.history))
    split = "\n- ".join([data.split.explanation, *unmeasured_reasons.values()])
    precision = str(result.precision)
    retry(lambda: save_bundle(target, bundle, split, findings, precision), f"cannot write {target}")


def _metrics(result: FitResult, data: Dataset, validation: PartTensors, routing: RoutingData | None) -> Metrics:
    """Return the metrics of the validation and the test part, and the ends of the test part's intervals."""
    test = EvaluationPart.of(data.test, result.device, data.preprocessing, routing)
    measured = evaluate(result.model, test, result.objective)
    validation_peaks = sampled_peaks(
        result.model, validation.static, data.preprocessing, torch.Generator().manual_seed(0)
    )
    test_peaks = sampled_peaks(result.model, test.tensors.static, data.preprocessing, torch.Generator().manual_seed(0))
    lower: dict[str, float] = {}
    upper: dict[str, float] = {}
    limits = intervals(result.model, test, data.split.units[data.split.test])
    for name, (low, high) in limits.items():
        lower[name] = low
        upper[name] = high
    return {
        "validation": result.metrics | validation_peaks,
        "test": measured | test_peaks,
        "test_lower": lower,
        "test_upper": upper,
    }


def _sample(rows: PartTensors, generator: torch.Generator) -> PartTensors:
    """Sample as many rows as a streamed table keeps in memory: more would hardly change the fit."""
    if len(rows) <= SAMPLE_ROWS:
        return rows
    return rows.take(torch.randperm(len(rows), generator=generator)[:SAMPLE_ROWS].to(rows.signals.device))
