"""A step of the optimiser: clipped as PyTorch's own clip_grad_norm_ does it."""

import pytest
import torch

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.models import build
from hcvae.training.epoch import EpochTrainer
from hcvae.training.loop import resolve
from hcvae.training.schedule import component_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers


@pytest.mark.parametrize("limit", [None, 0.05, 1e6])
def test_steps_are_those_of_clip_grad_norm_and_an_unfused_adamw(limit):
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "dropout": 0, "batch_norm": False},
            "data": {"simulator": {"rows": 300}},
            "training": {"batch_size": 64, "gradient_clip_norm": limit, "learning_rate": 1e-2},
        }
    )
    data, workers = prepare(config), Workers.current()
    config = resolve(config, data, workers.size)
    torch.manual_seed(0)
    trainer = EpochTrainer(
        config, build(config.model), PartTensors.of(data.train, torch.device("cpu")), workers, 20_000.0
    )
    ours = list(trainer.module.parameters())
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    plain = torch.optim.AdamW(theirs, lr=config.training.learning_rate, weight_decay=config.training.weight_decay)
    weights = component_weights(config, config.training.loss_weights)
    clipped = []
    for step, (n_rows, batch) in zip(range(3), trainer.batches(0), strict=False):
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer.backward(n_rows, batch, 0, step, weights)
        for parameter, other in zip(ours, theirs, strict=True):
            other.grad = None if parameter.grad is None else parameter.grad.clone()
        norm = torch.nn.utils.clip_grad_norm_(theirs, limit or float("inf"))
        clipped.append(limit is not None and norm > limit)
        plain.step()
        terms = trainer.step(n_rows, batch, 0, step, weights)
        torch.testing.assert_close(terms["train_gradient_norm"], norm)
        torch.testing.assert_close(ours, theirs)
    assert all(clipped) == (limit == 0.05)
