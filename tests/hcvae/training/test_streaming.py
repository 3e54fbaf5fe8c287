"""Training from the disk: the batches of a training from memory where they can be, and all rows once where not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.streaming import prepare_stream
from hcvae.errors import UserError
from hcvae.training import fit, streaming
from hcvae.training.batches import epoch_batches
from hcvae.training.streaming import batch_sizes, streamed_batches
from hcvae.training.workers import Workers

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a small table of one row group."""
    path = tmp_path / "table.parquet"
    pq.write_table(simulate(1000, 0), path)
    training = {"epochs": 2, "batch_size": 96, "early_stopping_patience": None}
    data = {"tables": [str(path)], "memory_budget_gb": 0.001}
    return Config.model_validate({"model": {"width": 0.05}, "data": data, "training": training})


def test_losses_are_those_of_a_training_from_memory(config: Config, tmp_path: Path) -> None:
    streamed = fit(config, prepare_stream(config), tmp_path / "streamed")
    whole = fit(config, prepare(config), tmp_path / "whole")
    for one, other in zip(streamed.history, whole.history, strict=True):
        losses = [name for name in other if "loss" in name or name.startswith("train_")]
        assert {"train_loss", "train_swap", "validation_loss", "train_peak"} <= {*losses}
        assert [one[name] for name in losses] == pytest.approx([other[name] for name in losses], rel=1e-5)


def stream_of_many_groups(config: Config) -> Any:
    path = config.data.tables[0]
    pq.write_table(pq.read_table(path), path, row_group_size=50)
    return prepare_stream(config).stream


def read(stream: Any, epoch: int, rank: int = 0, size: int = 1) -> Iterator[tuple[int, torch.Tensor]]:
    batches = streamed_batches(stream, 96, seed=5, epoch=epoch, workers=Workers(rank, size), device=CPU)
    return ((n_rows, batch.signals) for n_rows, batch in batches)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_row_comes_once_an_epoch_to_one_worker(config: Config, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WINDOW_ROWS", 200)
    stream, train = stream_of_many_groups(config), prepare(config).train.signals
    shares = [list(read(stream, 0, rank, size)) for rank in range(size)]
    for of_a_step in zip(*shares, strict=True):
        assert {n_rows for n_rows, _ in of_a_step} == {sum(len(rows) for _, rows in of_a_step)}
    seen = torch.cat([rows for share in shares for _, rows in share]).numpy()
    assert len(seen) == len(train)
    np.testing.assert_allclose(seen[np.lexsort(seen.T)], train[np.lexsort(train.T)], atol=1e-5)


def test_an_epoch_is_repeated_exactly_and_another_one_has_another_order(config: Config) -> None:
    stream = stream_of_many_groups(config)
    first, again, other = (torch.cat([rows for _, rows in read(stream, epoch)]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batches_have_the_sizes_of_those_from_memory() -> None:
    for n_rows in (1, 95, 96, 97, 1000):
        assert batch_sizes(n_rows, 96) == [len(rows) for rows in epoch_batches(n_rows, 96, 0, 0)]


def test_a_file_that_has_lost_rows_ends_the_training(config: Config) -> None:
    stream = prepare_stream(config).stream
    path = config.data.tables[0]
    pq.write_table(pq.read_table(path).slice(0, 500), path)
    assert stream is not None
    with pytest.raises(UserError, match="a file has fewer rows than before"):
        list(read(stream, 0))
