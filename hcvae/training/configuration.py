"""The configuration of a training: completed by its data, and compared with that of a checkpoint."""

import math
from typing import Any

import torch

from hcvae.config import Config
from hcvae.counting import counted
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError


def resolve(config: Config, data: Dataset, workers: int) -> Config:
    """Return `config` with the values that follow from the data filled in.

    Raises:
        UserError: the batches are too small for the workers, or the data lack the training's target.
    """
    if config.training.target == "other_average" and not data.train.has_independent_averages:
        raise UserError(
            "training.target: 'other_average' needs several averages of a response, but the training part has one of "
            "each; name the columns in which averages of one response agree, such as --data.average_columns "
            """'["subject_id", "stimulus_level_db"]', or use --training.target same_average"""
        )
    smallest = data.n_train // math.ceil(data.n_train / config.training.batch_size)
    if smallest < workers:
        raise UserError(
            f"training.batch_size: batches of {counted(smallest, 'row')} cannot be divided among {workers} workers; "
            f"use --training.batch_size {2 * workers} or more, and a training part that allows it (it has "
            f"{counted(data.n_train, 'row')})"
        )
    resolved = {"static_dim": data.preprocessing.static.dim, "peak_window_ms": data.preprocessing.window_ms}
    model = config.model.model_copy(update=resolved)
    described = config.data.model_copy(update={"licence": data.licence})
    return config.model_copy(update={"model": model, "data": described})


def pick_device(device: str) -> torch.device:
    """Return the device that `training.device` names; `auto` is this worker's GPU where it has one.

    Raises:
        UserError: `cuda` is asked for and there is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device: no GPU on this machine, but got 'cuda'; use 'cpu' or 'auto'")
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def identity(config: Config, data: Dataset) -> dict[str, Any]:
    """Return what two trainings must share for one to continue from the other's checkpoint."""
    # A licence changes no number.
    return {"config": config.model_dump(mode="json", exclude={"data": {"licence"}}), "data": data.fingerprint}
