"""The precision of a training's matrix products: `auto` takes the one in which this device trains faster.

No list of processors decides, but a short measurement: training steps of a miniature network that is as wide as the
model, up to a bound. Its ratio of bf16 to fp32 is about that of the whole training.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hcvae.config import Precision, Section
from hcvae.models import Model
from hcvae.models.layers import decoder_layer
from hcvae.training.workers import Workers

MARGIN = 1.4
"""How many times faster a lower precision must be to be chosen. What gains less is left to fp32, whose numbers are
exact, and noise in the measurement does not turn the choice."""
SLOWER = 1.25
"""How many times slower than fp32 a given precision must be for a warning, or for a training to leave it."""
HOPELESS = 3.0
"""How many times slower a precision of the first, small measurement must be to have no second one, which may take 70
times as long as that of fp32."""
MAX_ROWS, MAX_FEATURES = 256, 1024
SMALL_ROWS, SMALL_FEATURES = 128, 256
SETTLED_ROUNDS, SETTLED, MAX_S = 5, 0.98, 0.5
"""The measurement ends when so many rounds in a row have improved no time to less than this share of it, at the latest
after these seconds: on a busy machine it is longer."""
LAYERS = 3
"""Of the miniature; each has half the features of the one before."""

Gflops = Mapping[Precision, float]


class PrecisionChoice(Section):
    """The precision that a training uses, and why."""

    used: Precision
    """In which it goes on."""
    before: tuple[Precision, ...] = ()
    """In which it was trained before, where it has changed."""
    gflops: dict[Precision, float] = Field(default_factory=dict)
    """Measured speed, on a CPU of one thread, in the slowest worker; empty where there was nothing to choose."""
    warning: str | None = None
    """What is wrong with it on this device."""

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate:.3g} GFLOP/s" for name, rate in self.gflops.items())
        change = f", before that in {', '.join(self.before)}" if self.before else ""
        return f"{self.used}{change}{f' (measured: {rates})' if rates else ''}"


def choose(
    wanted: Precision | Literal["auto"],
    model: Model,
    rows: int,
    workers: Workers,
    begun: Sequence[Precision] = (),
    *,
    finished: bool = False,
) -> PrecisionChoice:
    """The precision for a training of `model` with `rows` in a worker's batch; every worker calls it, and all agree.

    `begun` is what the training used before it was interrupted. It goes on in the last of them, as otherwise other
    numbers would come out, unless this device is clearly slower in it. One that is `finished` stays what it was.
    """
    gflops: dict[Precision, float] = {}
    if wanted != "fp32" and not finished:
        each = workers.gather(measure(model, rows))
        gflops = {name: min(one[name] for one in each) for name in each[0]}  # a step waits for the slowest worker
    return workers.share(decide(wanted, gflops, begun))


def decide(wanted: Precision | Literal["auto"], gflops: Gflops, begun: Sequence[Precision] = ()) -> PrecisionChoice:
    """The choice that follows from the measured rates."""
    fastest = _fastest(gflops)
    used = begun[-1] if begun else fastest if wanted == "auto" else wanted
    factor = gflops["fp32"] / gflops[used] if used in gflops else 1.0
    before, warning = tuple(begun[:-1]), None
    if wanted == "auto" and begun and factor > SLOWER:
        warning = f"the training began in {used}, which is {factor:.3g} times slower than fp32 here: it goes on in fp32"
        before, used = tuple(begun), "fp32"
    elif factor > SLOWER:
        warning = f"training.precision: {used!r} is {factor:.3g} times slower than 'fp32' here; 'auto' avoids that"
    elif wanted == "tf32" and gflops and factor > 1 / SLOWER:
        warning = "training.precision: 'tf32' is not faster than 'fp32' here"
    return PrecisionChoice(used=used, before=before, gflops=dict(gflops), warning=warning)


def measure(model: Model, rows: int) -> dict[Precision, float]:
    """GFLOP/s of training steps of a miniature of `model` on its device, in each precision that the device has.

    On a CPU by one thread: the ratio of two precisions is much the same with more, which wait for each other where the
    cores are shared.
    """
    device = next(model.parameters()).device
    widest = max(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    rows, features = min(max(rows, 2), MAX_ROWS), min(math.isqrt(widest), MAX_FEATURES)
    with _one_thread():
        small = _rates(min(rows, SMALL_ROWS), min(features, SMALL_FEATURES), device)
        hopeless = small["bf16"] * HOPELESS < small["fp32"]
        return small if hopeless else _rates(rows, features, device)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU round the factors of matrix products to TF32's 10 bits until the end of the block, or forbid it.

    The CPU's products are not touched. PyTorch's notes on CUDA semantics, "TensorFloat-32 (TF32) on Ampere".
    """
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        products.fp32_precision = before


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fastest(gflops: Gflops) -> Precision:
    chosen: Precision = "fp32"
    for name in gflops:
        if gflops[name] > MARGIN * gflops[chosen]:
            chosen = name
    return chosen


@cache
def _rates(rows: int, features: int, device: torch.device) -> dict[Precision, float]:
    """GFLOP/s of a miniature in each precision; each one's fastest of several steps, in turn.

    Measured once in a process, so that its trials do not wait for it again.
    """
    widths = [max(1, features >> layer) for layer in range(LAYERS + 1)]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        layers = (decoder_layer(*pair, batch_norm=True) for pair in pairwise(widths))
        miniature = nn.Sequential(*layers).to(device)
        signals = torch.randn(rows, features, device=device, requires_grad=True)
    names: list[Precision] = ["fp32", "tf32", "bf16"] if device.type == "cuda" else ["fp32", "bf16"]
    seconds = dict.fromkeys(names, math.inf)
    started, settled = time.perf_counter(), 0
    while settled < SETTLED_ROUNDS and time.perf_counter() - started < MAX_S:
        found = {name: _step_s(miniature, signals, name) for name in names}
        settled = 0 if any(found[name] < SETTLED * seconds[name] for name in names) else settled + 1
        seconds = {name: min(seconds[name], found[name]) for name in names}
    products = sum(before * after for before, after in pairwise(widths))
    return {name: 6e-9 * rows * products / seconds[name] for name in names}  # one product forward, two backward


def _step_s(miniature: nn.Module, signals: Tensor, precision: Precision) -> float:
    """Seconds of a forward and a backward pass."""
    started = time.perf_counter()
    with tf32(precision == "tf32"):
        with torch.autocast(signals.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = miniature(signals)
        torch.autograd.grad(output.float().sum(), [signals, *miniature.parameters()])
    if signals.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
