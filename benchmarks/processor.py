"""The processor that a benchmark runs on, how fast it multiplies, and which precisions are worth timing on it."""

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console

from hcvae.config import Config, Precision
from hcvae.models import build
from hcvae.terminal import print_line
from hcvae.training.memory import memory_kept
from hcvae.training.precision import SLOWER, decide, measure

T = TypeVar("T")
BATCH = 256


def processor() -> str:
    """Return processor, cores and vector instructions: the same in every run on a machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = (names or [platform.processor()])[0]
    capability = torch.backends.cpu.get_cpu_capability()
    if not slow():
        capability += " with bf16"
    return f"{name}, {os.cpu_count()} cores, {capability}, torch {torch.__version__}"


def machine() -> str:
    """Return the processor and its measured speed of multiplication."""
    measured = " and ".join(f"{name} {rate:.3g}" for name, rate in gflops().items())
    return f"{processor()}; training steps at full width: {measured} GFLOP/s a thread"


@cache
def gflops() -> dict[Precision, float]:
    """Measure the speed of each precision, as a training of full width on the CPU does."""
    model = build(Config.model_validate({"model": {"static_dim": 7}}).model)
    with memory_kept():
        return measure(model, BATCH)


def fastest() -> Precision:
    """Return the precision that such a training chooses."""
    return decide("auto", gflops()).used


def slow() -> dict[Precision, float]:
    """Return the precisions that are slower than fp32 here, with the factors."""
    rates = gflops()
    return {name: rates["fp32"] / rate for name, rate in rates.items() if rates["fp32"] > SLOWER * rate}


def without_slow(ways: Mapping[str, T], precisions: Mapping[str, str], console: Console) -> dict[str, T]:
    """Return the ways whose precision is not slow here; print a line about each of the others."""
    factors = {str(name): factor for name, factor in slow().items()}
    left: dict[str, T] = {}
    for name, way in ways.items():
        precision = precisions[name]
        if precision not in factors:
            left[name] = way
            continue
        text = f"left out: {name}: {precision} is {factors[precision]:.3g} times slower than fp32 on this processor"
        print_line(console, text)
    return left
