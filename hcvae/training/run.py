"""From a configuration and its data to a model bundle."""

from pathlib import Path

import torch

from hcvae.bundle import Bundle, nonfinite_to_none, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.data.streaming import SAMPLE_ROWS
from hcvae.models import build, outline
from hcvae.readiness import routing_or_none, unmeasured
from hcvae.retrying import retry
from hcvae.training.diagnosis import diagnose
from hcvae.training.evaluation import evaluate, intervals, sampled_peaks
from hcvae.training.loop import Chosen, FitResult, Report, Saved, fit, pick_device, resolve
from hcvae.training.objective import Objective
from hcvae.training.start import starting_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers


def preflight(config: Config, data: Dataset, workers: int = 1) -> dict[str, str]:
    """Find out, before any long work, whether `config` can be trained and measured on `data`.

    Returns why disentanglement cannot be measured, by the part of the split: a training runs without it.

    Raises:
        UserError: a batch cannot be shared out, there is no such device, the model is too large for a bundle, it cannot
            start from `training.start_from`, or the waveforms of a part do not differ.
    """
    config = resolve(config, data, workers)
    pick_device(config.training.device)
    outline(config.model)
    starting_weights(config, data)
    model = build(config.model.model_copy(update={"width": 0.01}))
    for part in (data.validation, data.test):
        evaluate(model, part, PartTensors.of(part, torch.device("cpu")), data.preprocessing, Objective(config), None)
    return unmeasured(data)


def train_bundle(
    config: Config,
    data: Dataset,
    folder: Path,
    report: Report | None = None,
    saved: Saved | None = None,
    chosen: Chosen | None = None,
    events: Path | None = None,
) -> FitResult:
    """`fit`, fit what generation draws from, and write the best epoch's model with its test figures to `folder`/bundle.

    A training that `report` stopped leaves its checkpoint and no bundle.

    Raises:
        UserError, TrainingDiverged, StorageError: as `fit`.
    """
    result = fit(config, data, folder, report, saved, chosen, events)
    if Workers.current().first and not result.stopped:
        device = next(result.model.parameters()).device
        train, validation, test = (PartTensors.of(part, device) for part in (data.train, data.validation, data.test))
        generator = torch.Generator().manual_seed(result.config.training.seed)
        seen, held_out = _sample(train, generator), _sample(validation, generator)
        result.model.fit_generation(seen.signals, seen.static, (held_out.signals, held_out.static), generator=generator)
        routing = routing_or_none(data.test, data.preprocessing)
        measured = evaluate(result.model, data.test, test, data.preprocessing, result.objective, routing)
        drawn_of = {
            part: sampled_peaks(result.model, rows.static, data.preprocessing, torch.Generator().manual_seed(0))
            for part, rows in (("validation", validation), ("test", test))
        }
        limits = intervals(result.model, data.test, test, data.preprocessing, data.split.units[data.split.test])
        metrics = {
            "validation": result.metrics | drawn_of["validation"],
            "test": measured | drawn_of["test"],
            "test_lower": {name: lower for name, (lower, _) in limits.items()},
            "test_upper": {name: upper for name, (_, upper) in limits.items()},
        }
        bundle = Bundle(
            result.model.cpu(), result.config, data.preprocessing, metrics, nonfinite_to_none(result.history)
        )
        findings = diagnose(result.config, result.history, drawn_of["validation"])
        target, split = folder / "bundle", "\n- ".join([data.split.explanation, *unmeasured(data).values()])
        precision = str(result.precision)
        retry(lambda: save_bundle(target, bundle, split, findings, precision), f"cannot write {target}")
    return result


def _sample(rows: PartTensors, generator: torch.Generator) -> PartTensors:
    """As many of the rows as a table on the disk keeps in memory: more tell the same of what generation draws from."""
    if len(rows) <= SAMPLE_ROWS:
        return rows
    return rows.take(torch.randperm(len(rows), generator=generator)[:SAMPLE_ROWS].to(rows.signals.device))
