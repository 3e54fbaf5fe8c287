"""A step of the optimiser: clipped as PyTorch's own clip_grad_norm_ does it."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.schedule import component_weights, plan_epoch
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

WAITS_FOR_A_GPU = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
"""Operators that return to Python, or give shapes, only when the device has come so far."""


class Operators(TorchDispatchMode):
    """Records the operators that are called, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        indices = args[1] if name == "index" else ()
        if any(index is not None and index.dtype == torch.bool for index in indices):
            name = "nonzero"
        self.called.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_waits_for_nothing_that_a_gpu_computes(precision):
    config = Config.model_validate(
        {
            "model": {"width": 0.05},
            "data": {"simulator": {"rows": 300}},
            "training": {"batch_size": 64, "precision": precision, "loss_weights": {"total_correlation": 1.0}},
        }
    )
    data, workers = prepare(config), Workers.current()
    config = resolve(config, data, workers.size)
    train = PartTensors.of(data.train, torch.device("cpu"))
    trainer = EpochTrainer(config, build(config.model), train, workers, 20_000.0)
    weights = component_weights(config, config.training.loss_weights)
    with Operators() as operators:
        for step, batch in enumerate(trainer.batches(0)):
            trainer.step(*batch, 0, step, weights)
    assert {"index", "_fused_adamw_", "native_batch_norm_backward"} <= operators.called
    assert not operators.called.intersection(WAITS_FOR_A_GPU)


def test_a_compiled_training_is_compiled_once_for_each_size_of_batch_and_gives_the_same(monkeypatch):
    graphs = CompileCounterWithBackend("aot_eager")  # as in earnest, but for the code that would need a C++ compiler
    original = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda module, mode, dynamic: original(module, backend=graphs, dynamic=dynamic, fullgraph=True),
    )
    losses = []
    for compiled in (False, True):
        config = Config.model_validate(
            {
                "model": {"width": 0.05, "dropout": 0},
                "data": {"simulator": {"rows": 300}},
                "training": {"batch_size": 64, "epochs": 12, "compile": compiled},
            }
        )
        data, workers = prepare(config), Workers.current()
        config = resolve(config, data, workers.size)
        torch.manual_seed(0)
        train = PartTensors.of(data.train, torch.device("cpu"))
        trainer = EpochTrainer(config, build(config.model), train, workers, 20_000.0)
        plans = [plan_epoch(epoch, config.training) for epoch in range(6)]
        assert len({plan.weights.global_kl for plan in plans}) > 3  # the warm-up
        losses.append(
            [
                trainer.run(epoch, component_weights(config, plan.weights), 1e-3)["train_loss"]
                for epoch, plan in enumerate(plans)
            ]
        )
    sizes = {n_rows for n_rows, _ in trainer.batches(0)}
    assert graphs.frame_count == len(sizes) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


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
