"""Memory that every training step frees and takes again, kept by the process meanwhile."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's mallopt(3)."""
MAX_KEPT = 32 * 2**20
"""Bytes of the largest blocks that glibc can be told to keep."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let freed memory stay with the process until the end of the block; it is given back then.

    Otherwise glibc hands much of it back to the kernel at once, which clears each page when it is touched again:
    activations and gradients of every step. Other C libraries are left alone.
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
        mallopt(TRIM_THRESHOLD, 2 * MAX_KEPT)  # where glibc's own adjustment ends
        ctypes.CDLL(None).malloc_trim(0)
