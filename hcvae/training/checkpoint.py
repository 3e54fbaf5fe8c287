"""Checkpoints of a training: tensors in safetensors, the rest in JSON, no pickle.

    <folder>/epoch-0007/   model.safetensors  optimizer.safetensors  best.safetensors  state.json

A checkpoint is written under a temporary name and renamed, and older ones are removed only after that, so the newest
is complete at any moment. Another process may delete any of it meanwhile.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from hcvae.atomic import atomic_folder
from hcvae.config import Config, Precision
from hcvae.retrying import retry
from hcvae.storage import StoragePath

Tensors = dict[str, torch.Tensor]
EpochMetrics = dict[str, float]
"""The metrics of an epoch by name, as they are reported and kept."""
CHECKPOINT = re.compile(r"epoch-\d{4}")
TENSORS = ("model.safetensors", "optimizer.safetensors", "best.safetensors")
ATTEMPTS = 3
"""Attempts to copy a newest checkpoint that a newer one replaces meanwhile."""

logger = logging.getLogger("hcvae.training")


@dataclass(frozen=True)
class TrainingState:
    """The progress of a training, besides its tensors."""

    identity: dict[str, Any]
    """Configuration and data fingerprint; only a training with the same ones continues."""
    epoch: int = 0
    """Epochs finished."""
    best_epoch: int | None = None
    """Epoch, from 1, with the lowest validation loss of the last phase."""
    finished: bool = False
    """Whether the training has ended."""
    history: list[EpochMetrics] = field(default_factory=list)
    """The metrics of each finished epoch."""
    precisions: list[Precision] = field(default_factory=list)
    """The precisions that were used, in order; the last one is in use."""


def save_checkpoint(
    folder: Path, state: TrainingState, model: torch.nn.Module, optimizer: torch.optim.Optimizer, best: Tensors
) -> Path:
    """Write the checkpoint of `state.epoch` with the `best` epoch's weights, remove older ones, and return its folder.

    Raises:
        StorageError: it cannot be written for a long time.
    """
    target = folder / f"epoch-{state.epoch:04d}"

    def write() -> None:
        with atomic_folder(target) as temporary:
            save_file(model.state_dict(), temporary / "model.safetensors")
            save_file(_optimizer_tensors(optimizer), temporary / "optimizer.safetensors")
            save_file(best, temporary / "best.safetensors")
            (temporary / "state.json").write_text(json.dumps(asdict(state)))

    retry(write, f"cannot write {target}")
    for other in folder.glob("*"):
        if other != target:
            with suppress(FileNotFoundError):  # another process has removed it
                StoragePath.of(other).remove()
    return target


def load_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[TrainingState, Tensors]:
    """Load the newest checkpoint into `model` and `optimizer`; return its state and the best epoch's weights.

    Without a checkpoint, the state is that of a new training.

    Raises:
        ValueError: the checkpoint's training has another identity.
    """
    newest = max(folder.glob("epoch-????"), default=None)
    if newest is None:
        return TrainingState(identity), {}
    state = _state_in((newest / "state.json").read_text())
    if not _is_same(state, identity):
        raise ValueError(f"{newest}: holds a training of another configuration or of other data")
    device = str(next(model.parameters()).device)
    model.load_state_dict(load_file(newest / "model.safetensors", device))
    _load_optimizer(optimizer, load_file(newest / "optimizer.safetensors", device))
    return state, load_file(newest / "best.safetensors", device)


def copy_newest(folders: Iterable[StoragePath], target: Path, identity: dict[str, Any]) -> Path | None:
    """Copy the newest checkpoint of a training from one of `folders` to `target`; return its copy, or None.

    The training may still be running there. Checkpoints of another identity, and damaged ones, are skipped.
    """
    folders = list(folders)
    for _ in range(ATTEMPTS):
        for name, checkpoint in _newest_first(folders):
            try:
                if _is_same(_state_in((checkpoint / "state.json").read_text()), identity):
                    _fetch(checkpoint, target / name)
                    return target / name
            except FileNotFoundError:
                continue  # incomplete, or a newer one has replaced it
            except (KeyError, TypeError, ValueError, SafetensorError) as error:
                logger.warning("%s is damaged and is skipped: %s", checkpoint, error)
    return None


def _newest_first(folders: Iterable[StoragePath]) -> list[tuple[str, StoragePath]]:
    checkpoints = []
    for folder in folders:
        for name in folder.listdir():
            if CHECKPOINT.fullmatch(name):
                checkpoints.append((name, folder / name))
    return sorted(checkpoints, key=itemgetter(0), reverse=True)


def _state_in(text: str) -> TrainingState:
    state = TrainingState(**json.loads(text))
    if state.precisions or "training" not in state.identity["config"]:
        return state
    # Written before the precision `auto` existed: the configuration has the one that was used.
    return replace(state, precisions=[state.identity["config"]["training"]["precision"]])


def _is_same(state: TrainingState, identity: dict[str, Any]) -> bool:
    """Return whether a checkpoint belongs to the training `identity`, whose precision may be `auto`.

    Options that the checkpoint's hcvae did not have yet count as left at their defaults. The fingerprint identifies the
    data, wherever the tables are.
    """
    try:
        found = Config.model_validate(state.identity["config"])
        wanted = Config.model_validate(identity["config"])
    except ValidationError:
        return False  # it was trained with an option that no longer exists
    precision = wanted.training.precision
    if precision not in ("auto", *state.precisions[-1:]):
        return False
    training = found.training.model_copy(update={"precision": precision})
    data = found.data.model_copy(update={"tables": wanted.data.tables})
    same_config = found.model_copy(update={"training": training, "data": data}) == wanted
    return same_config and state.identity["data"] == identity["data"]


def _fetch(checkpoint: StoragePath, target: Path) -> None:
    checkpoint.fetch(target)
    try:
        for name in TENSORS:
            with safe_open(target / name, framework="pt"):
                pass  # its header matches its length
    except (FileNotFoundError, SafetensorError):
        shutil.rmtree(target)
        raise


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the optimiser's state as tensors named by parameter number and slot, such as `3.exp_avg`."""
    slots = optimizer.state_dict()["state"]
    tensors = {}
    for index, slot in slots.items():
        for key, tensor in slot.items():
            tensors[f"{index}.{key}"] = tensor
    return tensors


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    slots: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
