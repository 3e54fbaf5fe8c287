"""Training: `fit` trains a model, `train_bundle` also writes it as a bundle."""

from hcvae.training.epoch import TrainingDiverged
from hcvae.training.loop import FitResult, Report, fit, take_over
from hcvae.training.run import preflight, train_bundle

__all__ = ["FitResult", "Report", "TrainingDiverged", "fit", "preflight", "take_over", "train_bundle"]
