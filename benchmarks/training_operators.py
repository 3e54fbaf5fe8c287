"""Why is a training step slower than pure matrix products? Time per kind of operator. Writes its table.

python -m benchmarks.training_operators     # a minute on 2 idle cores
"""

import sys
from collections import defaultdict
from collections.abc import Sequence

import torch
from pydantic import Field
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from benchmarks.pages import publish, spread
from benchmarks.processor import machine, without_slow
from benchmarks.science_runs import PLAIN, merged
from benchmarks.training_loops import prepared
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.training.memory import memory_kept

WAYS = {"fp32, 256": ("fp32", 256), "bf16, 256": ("bf16", 256), "bf16, 512": ("bf16", 512)}
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear"),
    "AdamW": ("_fused_adamw_",),
    "batch normalisation": ("native_batch_norm", "native_batch_norm_backward"),
    "copies and changes of type": ("copy_", "_to_copy", "cat", "index"),
    "dropout's draws": ("random_",),
}
"""Operators of PyTorch by purpose; all others are elementwise, sums and the like."""
OTHERS = "all others"


class Operators(command_line.Command):
    """Profile the steps of a plain loop at full width, by kind of operator.

    examples:
      python -m benchmarks.training_operators
      python -m benchmarks.training_operators --rounds 1
    """

    rounds: int = Field(5, ge=1)
    """Each round profiles every way once."""
    steps: int = Field(10, ge=1)
    """Steps of a round."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Operators, arguments)
    console = Console()
    ways = without_slow(WAYS, {name: precision for name, (precision, _) in WAYS.items()}, console)
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ways}
    with memory_kept():
        for _ in range(command.rounds):
            for name, (precision, batch) in ways.items():
                for kind, share in shares(precision, batch, command.steps).items():
                    found[name][kind].append(share)
    lines = [f"| share of a step's time | {' | '.join(ways)} |", "| --- |" + " --- |" * len(ways)]
    for kind in (*KINDS, OTHERS):
        cells = [spread(found[name][kind]) for name in ways]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", f"{command.rounds} rounds of {command.steps} steps, {torch.get_num_threads()} threads; {machine()}."]
    publish("benchmarks.md", "training operators", lines)
    return 0


def shares(precision: str, batch: int, steps: int) -> dict[str, float]:
    """Return the share of each kind of operator in the total time, over `steps` steps after two that do not count."""
    base = merged(PLAIN, {"data": {"simulator": {"rows": 4000}}})
    config = Config.model_validate(merged(base, {"training": {"batch_size": batch, "precision": precision}}))
    step, weights, train = prepared(config, prepare(config))
    optimizer = torch.optim.AdamW(step.parameters(), fused=True)

    def one() -> None:
        rows = train.take(torch.randperm(len(train))[:batch])
        noise = tuple(torch.randn(batch, dim) for dim in step.model.latent_dims.values())
        total, _ = step(rows, noise, weights, batch, rows.peak_mask.sum())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    for _ in range(2):
        one()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            one()
    kind_of: dict[str, str] = {}
    for kind, names in KINDS.items():
        kind_of |= dict.fromkeys((f"aten::{name}" for name in names), kind)
    seconds: dict[str, float] = defaultdict(float)
    for operator in profiled.key_averages():
        seconds[kind_of.get(operator.key, OTHERS)] += operator.self_cpu_time_total
    return {kind: seconds[kind] / sum(seconds.values()) for kind in (*KINDS, OTHERS)}


if __name__ == "__main__":
    sys.exit(command_line.main(run))
