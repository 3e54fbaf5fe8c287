"""From a configuration and its data to a model bundle."""

from pathlib import Path

import torch

from hcvae.bundle import Bundle, finite, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.models import build
from hcvae.training.diagnosis import diagnose
from hcvae.training.evaluation import PartTensors, evaluate
from hcvae.training.loop import FitResult, Report, fit, pick_device, resolve
from hcvae.training.schedule import component_weights
from hcvae.training.workers import Workers


def preflight(config: Config, data: Dataset, workers: int = 1) -> None:
    """Find out, before any long work, whether `config` can be trained and measured on `data`.

    Raises:
        UserError: a batch cannot be shared out, there is no such device, or a part is too small to be scored.
    """
    config = resolve(config, data, workers)
    pick_device(config.training.device)
    model = build(config.model.model_copy(update={"width": 0.01}))
    weights = component_weights(config, config.training.loss_weights)
    for part in (data.validation, data.test):
        evaluate(model, part, PartTensors.of(part, torch.device("cpu")), data.preprocessing, weights)


def train_bundle(config: Config, data: Dataset, folder: Path, report: Report | None = None) -> FitResult:
    """`fit`, fit the prior, and write the best epoch's model, measured on the test part, to `folder`/bundle.

    Raises:
        UserError, TrainingDiverged: as `fit`.
    """
    result = fit(config, data, folder, report)
    if Workers.current().first:
        device = next(result.model.parameters()).device
        weights = component_weights(result.config, result.config.training.loss_weights)
        train = PartTensors.of(data.train, device)
        result.model.fit_prior(train.signals, train.static)
        test = evaluate(result.model, data.test, PartTensors.of(data.test, device), data.preprocessing, weights)
        metrics = {"validation": result.metrics, "test": test}
        bundle = Bundle(result.model.cpu(), result.config, data.preprocessing, metrics, finite(result.history))
        findings = diagnose(result.config, result.history)
        save_bundle(folder / "bundle", bundle, data.split.explanation, findings)
    return result
