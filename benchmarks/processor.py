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
from hcvae.training.memory import memory_kept
from hcvae.training.precision import SLOWER, decide, measure

T = TypeVar("T")
BATCH = 256


def processor() -> str:
    """Processor, cores and vector instructions: the same in every run on a machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name, capability = (names or [platform.processor()])[0], torch.backends.cpu.get_cpu_capability()
    return f"{name}, {os.cpu_count()} cores, {capability}{'' if slow() else ' with bf16'}, torch {torch.__version__}"


def machine() -> str:
    """The processor, and what it was measured to multiply."""
    measured = " and ".join(f"{name} {rate:.3g}" for name, rate in gflops().items())
    return f"{processor()}; training steps at full width: {measured} GFLOP/s a thread"


@cache
def gflops() -> dict[Precision, float]:
    """As a training of full width measures it on the CPU to choose its precision."""
    model = build(Config.model_validate({"model": {"static_dim": 7}}).model)
    with memory_kept():
        return measure(model, BATCH)


def fastest() -> Precision:
    """The precision that such a training chooses."""
    return decide("auto", gflops()).used


def slow() -> dict[Precision, float]:
    """Precisions that are slower than fp32 here, and how many times."""
    rates = gflops()
    return {name: rates["fp32"] / rate for name, rate in rates.items() if rates["fp32"] > SLOWER * rate}


def without_slow(ways: Mapping[str, T], precisions: Mapping[str, str], console: Console) -> dict[str, T]:
    """The ways whose precision is not slow here; a line about each other one."""
    left_out = {name: factor for name in ways for slower, factor in slow().items() if precisions[name] == slower}
    for name, factor in left_out.items():
        text = f"left out: {name}: {precisions[name]} is {factor:.3g} times slower than fp32 on this processor"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    return {name: way for name, way in ways.items() if name not in left_out}
