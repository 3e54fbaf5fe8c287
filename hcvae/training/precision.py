"""How a GPU multiplies matrices of fp32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
