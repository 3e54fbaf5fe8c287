"""What this machine can do at all: matrix products and memory. Writes its table into docs/benchmarks.md.

python -m benchmarks.ceilings     # a minute
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from pydantic import Field
from rich.console import Console

from benchmarks.processor import machine
from benchmarks.science import ROOT
from benchmarks.science_report import between, spread
from hcvae import command_line

SIDES = (1024, 2048)
"""Of square matrices; the faster one counts."""
COPIED_MIB = 256
MAX_S = 2.0
"""Of the calls of a measurement."""


class Ceilings(command_line.Command):
    """Measure the machine's own limits, against which the other figures are read.

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
    lines += [f"| {name} | {spread([one[name] for one in rounds])} |" for name in rounds[0]]
    lines += ["", f"{command.rounds} rounds, {torch.get_num_threads()} threads; {machine()}."]
    path = ROOT / "docs" / "benchmarks.md"
    path.write_text(between(path.read_text(), "ceilings", "\n".join(lines)))
    Console().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    return 0


def measure() -> dict[str, float]:
    """The ceilings of one round."""
    source = torch.ones(COPIED_MIB * 2**18)
    target = torch.empty_like(source)
    seconds = best(partial(target.copy_, source))
    return {
        "matrix product, fp32, GFLOP/s": product_gflops(torch.float32),
        "matrix product, bf16, GFLOP/s": product_gflops(torch.bfloat16),
        f"copy of {COPIED_MIB} MiB, read and written, GB/s": 2 * source.nbytes / seconds / 1e9,
    }


def product_gflops(dtype: torch.dtype) -> float:
    """Of the faster of two square products; the larger one only where the smaller one is quick."""
    rates: list[float] = []
    for side in SIDES:
        if not rates or 2 * side**3 / rates[0] / 1e9 < MAX_S:
            left, right = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
            rates.append(2 * side**3 / best(partial(torch.mm, left, right)) / 1e9)
    return max(rates)


def best(call: Callable[[], object], times: int = 10) -> float:
    """Seconds of the fastest of several calls after a first one; slow calls are fewer, but two at least."""
    found: list[float] = []
    while len(found) < 2 or (len(found) <= times and sum(found) < MAX_S):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found[1:])


if __name__ == "__main__":
    sys.exit(command_line.main(run))
