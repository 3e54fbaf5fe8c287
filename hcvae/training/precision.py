"""The precision of a training's matrix products: `auto` chooses the one in which this device trains fastest.

The choice rests on a short measurement, not on a list of processors: training steps of a miniature network as wide as
the model, up to a bound. Its ratio of bf16 to fp32 speed is about that of the whole training.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hcvae.config import Precision, Section
from hcvae.models import Model
from hcvae.models.layers import decoder_layer
from hcvae.training.workers import Workers

MARGIN = 1.4
"""Speed, relative to fp32, from which a lower precision is chosen. A smaller gain is not worth the lost digits and may
be noise of the measurement."""
SLOWER = 1.25
"""Slowdown against fp32 from which a given precision causes a warning, and a continued training leaves it."""
HOPELESS = 3.0
"""Slowdown in the first, small measurement from which there is no second one, which may take 70 times as long as that
of fp32."""
MAX_ROWS = 256
MAX_FEATURES = 1024
SMALL_ROWS = 128
SMALL_FEATURES = 256
SETTLED_ROUNDS = 5
"""The measurement ends after this many rounds in a row in which no time has improved."""
SETTLED = 0.98
"""Share of the best time so far below which a time has improved."""
MAX_S = 0.5
"""Seconds after which no further round starts."""
LAYERS = 3
"""Layers of the miniature; each has half the features of the one before."""

Gflops = Mapping[Precision, float]


class PrecisionChoice(Section):
    """The precision that a training uses, and why."""

    used: Precision
    """The precision from now on."""
    before: tuple[Precision, ...] = ()
    """Earlier precisions, if it has changed."""
    gflops: dict[Precision, float] = Field(default_factory=dict)
    """Measured speed of the slowest worker, on a CPU with one thread; empty if there was nothing to choose."""
    warning: str | None = None
    """Why it is a bad choice on this device."""

    def __str__(self) -> str:
        text: str = self.used
        if self.before:
            text += f", before that in {', '.join(self.before)}"
        if self.gflops:
            rates = ", ".join(f"{name} {rate:.3g} GFLOP/s" for name, rate in self.gflops.items())
            text += f" (measured: {rates})"
        return text


def choose(
    wanted: Precision | Literal["auto"],
    model: Model,
    rows: int,
    workers: Workers,
    earlier: Sequence[Precision] = (),
    *,
    finished: bool = False,
) -> PrecisionChoice:
    """Choose the precision for a training of `model` with `rows` in a worker's batch; all workers call it and agree.

    `earlier` are the precisions used before an interruption. The training continues in the last of them, as another one
    would change its numbers, unless this device is clearly slower in it. If it is `finished`, nothing is measured.
    """
    gflops: dict[Precision, float] = {}
    if wanted != "fp32" and not finished:
        by_worker = workers.gather(measure(model, rows))
        for name in by_worker[0]:
            gflops[name] = min(map(itemgetter(name), by_worker))  # a step waits for the slowest worker
    return workers.share(decide(wanted, gflops, earlier))


def decide(wanted: Precision | Literal["auto"], gflops: Gflops, earlier: Sequence[Precision] = ()) -> PrecisionChoice:
    """Return the choice that follows from the measured rates."""
    used = _first_choice(wanted, gflops, earlier)
    factor = _slowdown(used, gflops)
    before = tuple(earlier[:-1])
    warning = None
    if wanted == "auto" and earlier and factor > SLOWER:
        warning = (
            f"the training began in {used}, which is {factor:.3g} times slower than fp32 here: it continues in fp32"
        )
        before = tuple(earlier)
        used = "fp32"
    elif factor > SLOWER:
        warning = f"training.precision: {used!r} is {factor:.3g} times slower than 'fp32' here; 'auto' avoids that"
    elif wanted == "tf32" and gflops and factor > 1 / SLOWER:
        warning = "training.precision: 'tf32' is not faster than 'fp32' here"
    return PrecisionChoice(used=used, before=before, gflops=dict(gflops), warning=warning)


def measure(model: Model, rows: int) -> dict[Precision, float]:
    """Measure GFLOP/s of training steps of a miniature of `model` on its device, in each precision that the device has.

    A CPU is measured with one thread: more would wait for each other where cores are shared, and hardly change the
    ratio of two precisions.
    """
    device = next(model.parameters()).device
    widest = _largest_weight(model)
    rows = min(max(rows, 2), MAX_ROWS)
    features = min(math.isqrt(widest), MAX_FEATURES)
    with _one_thread():
        small = _rates(min(rows, SMALL_ROWS), min(features, SMALL_FEATURES), device)
        hopeless = small["bf16"] * HOPELESS < small["fp32"]
        if hopeless:
            return small
        return _rates(rows, features, device)


def _largest_weight(model: Model) -> int:
    """Return the number of elements in the largest weight of a linear layer."""
    sizes = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear)]
    return max(sizes)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU round the factors of matrix products to TF32's 10 bits until the end of the block, or forbid it.

    Products on the CPU are not affected. PyTorch's notes on CUDA semantics, "TensorFloat-32 (TF32) on Ampere".
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


def _first_choice(wanted: Precision | Literal["auto"], gflops: Gflops, earlier: Sequence[Precision]) -> Precision:
    if earlier:
        return earlier[-1]
    if wanted == "auto":
        return _fastest(gflops)
    return wanted


def _slowdown(used: Precision, gflops: Gflops) -> float:
    """Return how many times slower than fp32 a precision is; 1 where it was not measured."""
    if used not in gflops:
        return 1.0
    return gflops["fp32"] / gflops[used]


def _fastest(gflops: Gflops) -> Precision:
    chosen: Precision = "fp32"
    for name in gflops:
        if gflops[name] > MARGIN * gflops[chosen]:
            chosen = name
    return chosen


@cache
def _rates(rows: int, features: int, device: torch.device) -> dict[Precision, float]:
    """Return GFLOP/s of a miniature in each precision, from the fastest of several steps, taken in turn.

    Measured once in a process, so that its trials do not wait for it again.
    """
    widths = [max(1, features >> layer) for layer in range(LAYERS + 1)]
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        layers = [decoder_layer(*pair, batch_norm=True) for pair in pairwise(widths)]
        miniature = nn.Sequential(*layers).to(device)
        signals = torch.randn(rows, features, device=device, requires_grad=True)
    seconds = _fastest_step_s(miniature, signals)
    products = sum(before * after for before, after in pairwise(widths))
    return {name: 6e-9 * rows * products / seconds[name] for name in seconds}  # one product forward, two backward


def _fastest_step_s(miniature: nn.Module, signals: Tensor) -> dict[Precision, float]:
    """Repeat steps in each precision until their fastest times settle, and return these."""
    names: list[Precision] = ["fp32", "bf16"]
    if signals.device.type == "cuda":
        names.insert(1, "tf32")
    seconds = dict.fromkeys(names, math.inf)
    started = time.perf_counter()
    settled = 0
    while settled < SETTLED_ROUNDS and time.perf_counter() - started < MAX_S:
        settled += 1
        for name in names:
            found = _step_s(miniature, signals, name)
            if found < SETTLED * seconds[name]:
                settled = 0
            seconds[name] = min(seconds[name], found)
    return seconds


def _step_s(miniature: nn.Module, signals: Tensor, precision: Precision) -> float:
    """Return the seconds of a forward and a backward pass."""
    started = time.perf_counter()
    with tf32(precision == "tf32"):
        with torch.autocast(signals.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = miniature(signals)
        torch.autograd.grad(output.float().sum(), [signals, *miniature.parameters()])
    if signals.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
