"""Checkpoints of a training: tensors in safetensors, the rest in JSON, no pickle.

    <folder>/epoch-0007/   model.safetensors  optimizer.safetensors  best.safetensors  state.json

A checkpoint is written under a temporary name and renamed, and older ones are removed only after that, so the
newest is whole at any moment. Somebody may delete any of it meanwhile.
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
CHECKPOINT = re.compile(r"epoch-\d{4}")
TENSORS = ("model.safetensors", "optimizer.safetensors", "best.safetensors")
LOOKS = 3
"""How often a newest checkpoint is looked for that is replaced by a newer one meanwhile."""

logger = logging.getLogger("hcvae.training")


@dataclass(frozen=True)
class TrainingState:
    """What a training has come to, besides its tensors."""

    identity: dict[str, Any]
    """Configuration and data fingerprint; a training goes on only where they are the same."""
    epoch: int = 0
    """Epochs finished."""
    best_epoch: int | None = None
    """Epoch, from 1, with the lowest validation loss of the last phase."""
    finished: bool = False
    """Whether the training has ended."""
    history: list[dict[str, float]] = field(default_factory=list)
    """The metrics of each finished epoch."""
    precisions: list[Precision] = field(default_factory=list)
    """In which it was trained, one after another; the last one is in use."""


def save_checkpoint(
    folder: Path, state: TrainingState, model: torch.nn.Module, optimizer: torch.optim.Optimizer, best: Tensors
) -> Path:
    """Write the checkpoint of `state.epoch`, then drop older ones; its folder. `best` are the best epoch's weights.

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
            with suppress(FileNotFoundError):  # somebody else has removed it
                StoragePath.of(other).remove()
    return target


def load_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[TrainingState, Tensors]:
    """Load the newest checkpoint into `model` and `optimizer`; the beginning of a training where there is none.

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
    layout = optimizer.state_dict()
    slots: dict[int, Tensors] = {}
    for name, tensor in load_file(newest / "optimizer.safetensors", device).items():
        index, key = name.split(".")
        slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(layout | {"state": slots})
    return state, load_file(newest / "best.safetensors", device)


def copy_newest(folders: Iterable[StoragePath], target: Path, identity: dict[str, Any]) -> Path | None:
    """Copy the newest checkpoint of a training from one of `folders` to `target`; its copy, or None.

    The training may still be running there. Checkpoints of another identity, and damaged ones, are left alone.
    """
    folders = list(folders)
    for _ in range(LOOKS):
        names = [(name, folder / name) for folder in folders for name in folder.listdir() if CHECKPOINT.fullmatch(name)]
        for name, checkpoint in sorted(names, key=itemgetter(0), reverse=True):
            try:
                if _is_same(_state_in((checkpoint / "state.json").read_text()), identity):
                    _fetch(checkpoint, target / name)
                    return target / name
            except FileNotFoundError:
                continue  # not whole, or a newer one has replaced it
            except (KeyError, TypeError, ValueError, SafetensorError) as error:
                logger.warning("%s is damaged, and left out: %s", checkpoint, error)
    return None


def _state_in(text: str) -> TrainingState:
    state = TrainingState(**json.loads(text))
    if state.precisions or "training" not in state.identity["config"]:
        return state
    # Written before there was the precision `auto`: the configuration has the one that was used.
    return replace(state, precisions=[state.identity["config"]["training"]["precision"]])


def _is_same(state: TrainingState, identity: dict[str, Any]) -> bool:
    """Whether a checkpoint's training is that of `identity`, which may leave the precision to it.

    Options that the checkpoint's hcvae did not have yet count as left at their defaults. The fingerprint identifies the
    data, wherever the tables are.
    """
    try:
        found, wanted = (Config.model_validate(one["config"]) for one in (state.identity, identity))
    except ValidationError:
        return False  # it was trained with an option that there is no longer
    precision = wanted.training.precision
    same = found.model_copy(
        update={
            "training": found.training.model_copy(update={"precision": precision}),
            "data": found.data.model_copy(update={"tables": wanted.data.tables}),
        }
    )
    return (
        same == wanted and state.identity["data"] == identity["data"] and precision in ("auto", *state.precisions[-1:])
    )


def _fetch(checkpoint: StoragePath, target: Path) -> None:
    checkpoint.fetch(target)
    try:
        for name in TENSORS:
            with safe_open(target / name, framework="pt"):
                pass  # its header and its length fit together
    except (FileNotFoundError, SafetensorError):
        shutil.rmtree(target)
        raise


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    slots = optimizer.state_dict()["state"]
    return {f"{index}.{key}": tensor for index, slot in slots.items() for key, tensor in slot.items()}
