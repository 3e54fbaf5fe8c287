"""The limits of this machine: matrix products and memory. Writes its table into docs/benchmarks.md.

python -m benchmarks.ceilings     # a minute
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from pydantic import Field

from benchmarks.pages import publish, spread
from benchmarks.processor import machine
from hcvae import command_line

SIDES = (1024, 2048)
"""Rows of the square matrices; the faster product counts."""
COPIED_MIB = 256
MAX_S = 2.0
"""Limit for the calls of a measurement."""


class Ceilings(command_line.Command):
    """Measure the machine's limits, with which the other results are compared.

    examples:
      python -m benchmarks.ceilings
      python -m benchmarks.ceilings --rounds 3
    """

    rounds: int = Field(5, ge=1)
    """Each round measures everything once."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Ceilings, arguments)
    rounds = [measure() for _ in range(command.rounds)]
    lines = ["| | ceiling |", "| --- | --- |"]
    for name in rounds[0]:
        lines.append(f"| {name} | {spread([one[name] for one in rounds])} |")
    lines += ["", f"{command.rounds} rounds, {torch.get_num_threads()} threads; {machine()}."]
    publish("benchmarks.md", "ceilings", lines)
    return 0


def measure() -> dict[str, float]:
    """Return the ceilings of one round."""
    source = torch.ones(COPIED_MIB * 2**18)
    target = torch.empty_like(source)
    seconds = best(partial(target.copy_, source))
    return {
        "matrix product, fp32, GFLOP/s": product_gflops(torch.float32),
        "matrix product, bf16, GFLOP/s": product_gflops(torch.bfloat16),
        f"copy of {COPIED_MIB} MiB, read and written, GB/s": 2 * source.nbytes / seconds / 1e9,
    }


def product_gflops(dtype: torch.dtype) -> float:
    """Return the rate of the faster of two square products; the larger one is tried if the smaller one is quick."""
    rates: list[float] = []
    for side in SIDES:
        if not rates or 2 * side**3 / rates[0] / 1e9 < MAX_S:
            left = torch.randn(side, side).to(dtype)
            right = torch.randn(side, side).to(dtype)
            rates.append(2 * side**3 / best(partial(torch.mm, left, right)) / 1e9)
    return max(rates)


def best(call: Callable[[], object], times: int = 10) -> float:
    """Return the seconds of the fastest of several calls after a first one; slow calls are repeated less often."""
    found: list[float] = []
    while len(found) < 2 or (len(found) <= times and sum(found) < MAX_S):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found[1:])


if __name__ == "__main__":
    sys.exit(command_line.main(run))
