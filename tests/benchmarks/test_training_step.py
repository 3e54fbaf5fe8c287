"""The loops that are compared train the same network on as many rows, and the clocks count every part once."""

import pytest
import torch

from benchmarks import training_loops
from benchmarks.science_runs import PLAIN, merged
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.training.step import TrainingStep

SMALL = {
    "model": {"width": 0.05},
    "data": {"simulator": {"rows": 1500}},
    "training": {"epochs": 2, "batch_size": 100, "device": "cpu"},
}


@pytest.fixture(scope="module")
def config() -> Config:
    return Config.model_validate(merged(PLAIN, SMALL))


@pytest.fixture(scope="module")
def data(config: Config) -> Dataset:
    return prepare(config)


@pytest.mark.parametrize("loop", ["plain_loop", "lightning_trainer", "timed_fit"])
def test_each_loop_takes_every_row_once_an_epoch(loop, config, data, monkeypatch):
    rows, parameters = [], set()
    forward = TrainingStep.forward

    def counted(step, batch, *args, **kwargs):
        rows.append(len(batch))
        parameters.add(sum(parameter.numel() for parameter in step.model.parameters()))
        assert step.training
        return forward(step, batch, *args, **kwargs)

    monkeypatch.setattr(TrainingStep, "forward", counted)
    seconds = getattr(training_loops, loop)(config, data)
    assert sum(rows) == 2 * data.n_train
    assert len(parameters) == 1
    assert seconds["all"] > 0


def test_parts_of_a_fit_are_disjoint_and_the_clocks_are_taken_off(config, data):
    before = torch.optim.AdamW.step, torch.Tensor.backward
    seconds = training_loops.timed_fit(config, data)
    assert (torch.optim.AdamW.step, torch.Tensor.backward) == before
    parts = [seconds[name] for name in training_loops.TIMED]
    assert all(part > 0 for part in parts)
    assert sum(parts) < seconds["all"]
