"""Training rows through Ray Data: the blocks that one process reads, and the losses of a training from memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import hcvae
from hcvae.config import Config
from hcvae.data.dataset import prepare as prepare_in_memory
from hcvae.data.simulator import simulate
from hcvae.data.streaming import Stream, read_spans
from hcvae.training import fit
from jobs import train
from tune.config import SearchConfig
from tune.placement.streaming import prepare
from tune.search import run_search

Large = Callable[[int], dict[str, Any]]


@pytest.fixture
def large(tmp_path: Path) -> Large:
    """Makes a configuration of a table in row groups of so many rows, that is larger than its budget."""

    def make(group_rows: int) -> dict[str, Any]:
        path = tmp_path / "table.parquet"
        pq.write_table(simulate(1000, 0), path, row_group_size=group_rows)
        training = {"epochs": 2, "batch_size": 96, "early_stopping_patience": None}
        data = {"tables": [str(path)], "memory_budget_gb": 0.0005}
        return {"model": {"width": 0.05}, "data": data, "training": training}

    return make


@pytest.mark.usefixtures("cluster")
def test_losses_are_those_of_a_training_from_memory(large: Large, tmp_path: Path) -> None:
    config = Config.model_validate(large(1000))
    data = prepare(config)
    assert data.stream is not None
    streamed, whole = fit(config, data, tmp_path / "a"), fit(config, prepare_in_memory(config), tmp_path / "b")
    for one, other in zip(streamed.history, whole.history, strict=True):
        losses = [name for name in other if "loss" in name or name.startswith("train_")]
        assert [one[name] for name in losses] == pytest.approx([other[name] for name in losses], rel=1e-5)


@pytest.mark.usefixtures("cluster")
def test_blocks_come_in_order(large: Large) -> None:
    stream = prepare(Config.model_validate(large(50))).stream
    assert isinstance(stream, Stream)
    groups = np.random.default_rng(0).permutation(stream.n_groups).tolist()
    read = list(stream.blocks(groups, 30, 500))
    [one_process, through_ray] = [
        np.concatenate([block["signals"] for block in blocks])
        for blocks in (_directly(stream).blocks(groups, 30, 500), read)
    ]
    assert np.array_equal(one_process, through_ray)


def _directly(stream: Stream) -> Stream:
    return Stream(stream.config, stream.preprocessing, stream.groups, stream.in_training, read_spans)


@pytest.mark.services
@pytest.mark.usefixtures("cluster")
def test_a_search_and_a_training_of_two_workers_read_what_memory_does_not_hold(large: Large, tmp_path: Path) -> None:
    space = {"model.global_latent_dim": {"type": "int", "low": 4, "high": 8}}
    search = {"study": "large", "storage": str(tmp_path), "trials": 2, "sampler": "random", "space": space}
    result = run_search(SearchConfig.model_validate(large(50) | {"search": search}))
    assert [trial.state for trial in result.trials] == ["complete"] * 2
    file = tmp_path / "two.json"
    file.write_text(Config.model_validate(large(50)).model_dump_json())
    assert train.run(["--config", str(file), "--workers", "2", "--out", str(tmp_path / "two")]) == 0
    hcvae.load(tmp_path / "two" / "bundle")
