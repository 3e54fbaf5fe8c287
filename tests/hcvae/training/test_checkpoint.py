"""Checkpoints that are deleted or damaged by another process, and disks that are full."""

import json
import os
import resource
import shutil

import pytest
import torch

from hcvae import retrying
from hcvae.errors import StorageError
from hcvae.storage import StoragePath
from hcvae.training.checkpoint import TENSORS, TrainingState, copy_newest, load_checkpoint, save_checkpoint

IDENTITY = {"config": {}, "data": "abc"}


def checkpoint(folder, epoch, model=None):
    """One of a linear model whose weights are the epoch."""
    model = model or torch.nn.Linear(64, 64)
    torch.nn.init.constant_(model.weight, epoch)
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(folder, TrainingState(IDENTITY, epoch), model, optimizer, {"weight": model.weight.detach()})


def weight_in(folder):
    model = torch.nn.Linear(64, 64)
    load_checkpoint(folder, model, torch.optim.Adam(model.parameters()), IDENTITY)
    return model.weight[0, 0].item()


@pytest.mark.parametrize("name", [*TENSORS, "state.json"])
@pytest.mark.parametrize("damage", ["cut short", "missing"])
def test_an_earlier_whole_checkpoint_is_taken_where_the_newest_is_damaged(tmp_path, name, damage):
    for attempt, epoch in ((1, 2), (2, 4)):
        checkpoint(tmp_path / str(attempt), epoch)
    file = tmp_path / "2" / "epoch-0004" / name
    if damage == "missing":
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size - 1)
    places = [StoragePath.of(tmp_path / "2"), StoragePath.of(tmp_path / "1")]
    assert copy_newest(places, tmp_path / "3", IDENTITY) == tmp_path / "3" / "epoch-0002"
    assert [entry.name for entry in (tmp_path / "3").iterdir()] == ["epoch-0002"]
    assert weight_in(tmp_path / "3") == 2


def test_nothing_is_taken_where_nothing_is_whole(tmp_path):
    checkpoint(tmp_path / "1", 2)
    os.truncate(tmp_path / "1" / "epoch-0002" / "model.safetensors", 100)
    assert (
        copy_newest([StoragePath.of(tmp_path / "1"), StoragePath.of(tmp_path / "nowhere")], tmp_path / "2", IDENTITY)
        is None
    )
    assert list((tmp_path / "2").glob("*")) == []


def test_a_folder_that_is_deleted_while_it_is_written_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(retrying, "RETRY_EVERY_S", 0)
    folder = tmp_path / "trial" / "checkpoint"
    checkpoint(folder, 1)

    class Deleter(torch.nn.Linear):
        def state_dict(self, *args, **kwargs):
            if not (tmp_path / "deleted").exists():
                (tmp_path / "deleted").touch()
                shutil.rmtree(tmp_path / "trial")
            return super().state_dict(*args, **kwargs)

    checkpoint(folder, 2, Deleter(64, 64))
    assert [entry.name for entry in folder.iterdir()] == ["epoch-0002"]
    assert weight_in(folder) == 2


def test_a_checkpoint_that_is_refused_leaves_the_one_before_and_takes_no_room(tmp_path, monkeypatch):
    """By a limit on the size of files: a model of 16 kB is too large for it."""
    monkeypatch.setattr(retrying, "RETRY_FOR_S", 0)
    checkpoint(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*epoch-0002: .*File too large"):
            checkpoint(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch-0001"]
    assert weight_in(tmp_path) == 1


def test_the_same_data_under_another_path_are_the_same_training(tmp_path):
    """As of trainings that recorded relative paths. The fingerprint is what counts."""
    checkpoint(tmp_path / "1", 2)
    state = tmp_path / "1" / "epoch-0002" / "state.json"
    content = json.loads(state.read_text())
    content["identity"]["config"] = {"data": {"tables": ["table.parquet"]}}
    state.write_text(json.dumps(content))
    places = [StoragePath.of(tmp_path / "1")]
    moved = {"data": {"tables": ["/elsewhere/table.parquet"]}}
    assert copy_newest(places, tmp_path / "2", {"config": moved, "data": "abc"}) is not None
    assert copy_newest(places, tmp_path / "3", {"config": moved, "data": "abd"}) is None
    static = {"data": moved["data"] | {"static": ["sex"]}}
    assert copy_newest(places, tmp_path / "4", {"config": static, "data": "abc"}) is None
