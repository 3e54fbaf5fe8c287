"""Freed memory stays in the process inside the block, and is returned after it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from pathlib import Path
from hcvae.training.memory import memory_kept

C = ctypes.CDLL(None)
C.malloc.restype = ctypes.c_void_p

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def use():
    blocks = [C.malloc(2**20) for _ in range(256)]
    for block in blocks:
        ctypes.memset(ctypes.c_void_p(block), 1, 2**20)
    for block in blocks:
        C.free(ctypes.c_void_p(block))

before = resident_mib()
use()
plain = resident_mib() - before
with memory_kept():
    use()
    kept = resident_mib() - before
after = resident_mib() - before
print(plain, kept, after)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_and_given_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    plain, kept, after = map(float, done.stdout.split())
    assert plain < 32
    assert kept > 224
    assert after < 32
