"""Batches of training rows that stay on the disk: shuffled by row group, then within a window.

If one row group holds all training rows and they fit into a window, the batches equal those of a training in memory.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from hcvae.data.dataset import TrainingRows
from hcvae.data.streaming import Block
from hcvae.errors import UserError
from hcvae.training.batches import RngStream, keyed_seed
from hcvae.training.tensors import PartTensors, on_device
from hcvae.training.workers import Workers

WINDOW_ROWS = 32_768
"""Rows that are shuffled together: about 100 MB for waveforms of 200 samples, copies included."""


class Batch(NamedTuple):
    """A batch of all workers, of which each holds a share."""

    n_rows: int
    """Rows of all workers together."""
    rows: PartTensors
    """This worker's rows."""


def streamed_batches(
    stream: TrainingRows, batch_size: int, seed: int, epoch: int, workers: Workers, device: torch.device
) -> Iterator[Batch]:
    """Yield the batches of an epoch, keyed by (seed, epoch) and the number of workers.

    Each worker reads only its own rows: in the shuffled order of the row groups, those after the rows of the workers
    of lower rank.

    Raises:
        UserError: the files have changed.
    """
    sizes = batch_sizes(len(stream), batch_size)
    own_sizes = _sizes_of_rank(sizes, workers.rank, workers)
    first = _rows_of_lower_ranks(sizes, workers)
    groups = torch.randperm(stream.n_groups, generator=_generator(RngStream.GROUPS, seed, epoch)).tolist()
    blocks = stream.blocks(groups, first, sum(own_sizes))
    shuffle = _generator(RngStream.ORDER, seed, epoch)
    windows = _windows(len(sizes), batch_size)
    rows_of_windows = [sum(own_sizes[window]) for window in windows]
    for window, content in zip(windows, _regroup(blocks, rows_of_windows), strict=True):
        rows = PartTensors.of_block(content, device)
        order = on_device(torch.randperm(len(rows), generator=shuffle), device)
        for size, chosen in zip(sizes[window], order.split(own_sizes[window]), strict=True):
            yield Batch(size, rows.take(chosen))


def batch_sizes(n_rows: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches of an epoch: nearly equal, as in `hcvae.training.batches.epoch_batches`."""
    n_batches = math.ceil(n_rows / batch_size)
    size, larger = divmod(n_rows, n_batches)
    return [size + 1] * larger + [size] * (n_batches - larger)


def _sizes_of_rank(sizes: Sequence[int], rank: int, workers: Workers) -> list[int]:
    """Return how many rows of each batch the worker `rank` has."""
    return [len(range(size)[rank :: workers.size]) for size in sizes]


def _windows(n_batches: int, batch_size: int) -> list[slice]:
    """Return the batches of each window, within which rows are shuffled."""
    per_window = max(1, WINDOW_ROWS // batch_size)
    return [slice(start, start + per_window) for start in range(0, n_batches, per_window)]


def _rows_of_lower_ranks(sizes: Sequence[int], workers: Workers) -> int:
    """Return how many rows of all batches the workers of lower rank have."""
    return sum(sum(_sizes_of_rank(sizes, rank, workers)) for rank in range(workers.rank))


def _regroup(blocks: Iterator[Block], counts: Sequence[int]) -> Iterator[Block]:
    """Yield the rows of `blocks` in order, in new blocks of `counts` rows."""
    waiting: list[Block] = []
    n_waiting = 0
    for count in counts:
        while n_waiting < count:
            block = next(blocks, None)
            if block is None:
                raise UserError("data.tables: a file has fewer rows than before the training; start a new training")
            waiting.append(block)
            n_waiting += len(block["signals"])
        chosen, rest = _split(waiting, count)
        yield chosen
        waiting = [rest]
        n_waiting -= count


def _split(blocks: Sequence[Block], count: int) -> tuple[Block, Block]:
    """Return the first `count` rows of `blocks` together, and the rest."""
    first: Block = {}
    rest: Block = {}
    for name in blocks[0]:
        joined = np.concatenate([block[name] for block in blocks])
        first[name] = joined[:count]
        rest[name] = joined[count:]
    return first, rest


def _generator(stream: RngStream, seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(keyed_seed(stream, seed, epoch))
