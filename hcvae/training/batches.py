"""Order, batches and random numbers of an epoch, which depend on (seed, epoch, step) alone.

An interrupted training can therefore repeat an epoch exactly, and a row gets the same latent noise on any worker.
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class RngStream(IntEnum):
    """Independent streams of random numbers of a training."""

    ORDER = 0
    NOISE = 1
    DROPOUT = 2
    GROUPS = 3


def keyed_seed(stream: RngStream, *key: int) -> int:
    """Return a 63-bit seed, different for each stream and key."""
    return int(np.random.SeedSequence((stream, *key)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def epoch_batches(n_rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[torch.Tensor]:
    """Return shuffled row numbers in batches of nearly equal size, so that no batch has a single row."""
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(keyed_seed(RngStream.ORDER, seed, epoch)))
    return iter(torch.tensor_split(order, -(-n_rows // batch_size)))


def latent_noise(n_rows: int, dim: int, seed: int, epoch: int, step: int) -> torch.Tensor:
    """Return standard-normal noise [n_rows, dim] for the batch of all workers; each takes its own rows."""
    generator = torch.Generator().manual_seed(keyed_seed(RngStream.NOISE, seed, epoch, step))
    return torch.randn(n_rows, dim, generator=generator)
