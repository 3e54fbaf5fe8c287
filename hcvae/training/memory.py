"""Keep the memory that each training step frees and allocates again."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3).
TRIM_THRESHOLD = -1
MMAP_THRESHOLD = -3
MAX_KEPT = 32 * 2**20
"""Bytes of the largest blocks that glibc can keep."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory in the process until the end of the block, then return it.

    Otherwise glibc returns the activations and gradients of each step to the kernel, which clears every page when it
    is used again. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(MMAP_THRESHOLD, MAX_KEPT)
    mallopt(TRIM_THRESHOLD, 2**30)
    try:
        yield
    finally:
        mallopt(TRIM_THRESHOLD, 2 * MAX_KEPT)  # the limit of glibc's own adjustment
        ctypes.CDLL(None).malloc_trim(0)
