"""Two gloo workers against one process: the gradient of a step must not depend on the number of workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo  # see `benchmarks.data_parallel.answer`: no thread of the group may outlive it
from safetensors.torch import load_file, save_file

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.models import build
from hcvae.training.batches import epoch_batches
from hcvae.training.configuration import resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.schedule import component_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

CONFIG = Config.model_validate(
    {
        "model": {"width": 0.05, "dropout": 0, "batch_norm": False, "static_from_latents": True},
        "data": {"simulator": {"rows": 300}},
        "training": {"batch_size": 51, "loss_weights": {"swap": 0}},  # partners are rows of the same worker
    }
)


def first_gradient(out: Path) -> None:
    """Write the gradient of the first step, and this worker's losses."""
    data = prepare(CONFIG)
    workers = Workers.current()
    config = resolve(CONFIG, data, workers.size)
    torch.manual_seed(0)
    model = build(config.model)
    trainer = EpochTrainer(config, model, PartTensors.of(data.train, torch.device("cpu")), workers, 20_000.0)
    n_rows, own = next(trainer.batches(0))
    assert n_rows % 2 == 1, "an odd batch, so that the two workers hold unequal parts"
    terms = trainer.backward(n_rows, own, 0, 0, component_weights(config, config.training.loss_weights))
    losses = {name: workers.sum(value.clone()) / workers.size for name, value in terms.items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    save_file(gradients | losses, out)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory) -> tuple[dict[str, torch.Tensor], ...]:
    folder = tmp_path_factory.mktemp("gradients")
    first_gradient(folder / "alone")
    command = [sys.executable, __file__, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    workers = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    return tuple(load_file(folder / name) for name in ("alone", "rank-0", "rank-1"))


def test_two_workers_have_the_gradient_of_one(gradients):
    alone, *workers = gradients
    assert any(name.startswith("encoder") for name in alone)
    for worker in workers:
        for name, expected in alone.items():
            torch.testing.assert_close(worker[name], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_peaks_are_averaged_over_all_workers_labels(gradients):
    # Labels are missing at random, so the workers hold unequal numbers: a mean of their means would be another value.
    data = prepare(CONFIG)
    rows = next(epoch_batches(len(data.train), CONFIG.training.batch_size, seed=0, epoch=0)).numpy()
    labels = [int(data.train.peak_mask[rows[rank::2]].sum()) for rank in range(2)]
    assert labels[0] != labels[1]
    alone, first, _ = gradients
    assert first["train_peak"].item() == pytest.approx(alone["train_peak"].item(), rel=1e-5)


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    first_gradient(folder / f"rank-{rank}")
    torch.distributed.destroy_process_group()
