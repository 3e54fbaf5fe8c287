"""Batches from training rows that are not in memory: shuffled by row group, then within a window.

Where one row group has all training rows, and they fit into a window, the batches are those of a training from memory.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from hcvae.data.dataset import TrainingRows
from hcvae.data.streaming import Block
from hcvae.errors import UserError
from hcvae.training.batches import RngStream, keyed_seed
from hcvae.training.tensors import PartTensors, on_device
from hcvae.training.workers import Workers

WINDOW_ROWS = 32_768
"""Rows that are shuffled together: some 100 MB with the copies of waveforms of 200 samples."""

Batch = tuple[int, PartTensors]
"""The number of rows of a batch of all workers, and this worker's own rows."""


def streamed_batches(
    stream: TrainingRows, batch_size: int, seed: int, epoch: int, workers: Workers, device: torch.device
) -> Iterator[Batch]:
    """The batches of an epoch, keyed by (seed, epoch) and the number of workers.

    Each worker reads rows of its own, as many as it has in the batches: in the shuffled order of the row groups, those
    after the rows of the workers before it.

    Raises:
        UserError: the files have changed.
    """
    sizes = batch_sizes(len(stream), batch_size)
    counts = [[len(range(size)[rank :: workers.size]) for size in sizes] for rank in range(workers.size)]
    first, own = sum(map(sum, counts[: workers.rank])), counts[workers.rank]
    groups = torch.randperm(stream.n_groups, generator=_generator(RngStream.GROUPS, seed, epoch)).tolist()
    per_window = max(1, WINDOW_ROWS // batch_size)
    windows = [slice(start, start + per_window) for start in range(0, len(sizes), per_window)]
    blocks = stream.blocks(groups, first, sum(own))
    shuffle = _generator(RngStream.ORDER, seed, epoch)
    for window, content in zip(windows, _cut(blocks, [sum(own[window]) for window in windows]), strict=True):
        rows = PartTensors.of_block(content, device)
        order = on_device(torch.randperm(len(rows), generator=shuffle), device)
        for size, chosen in zip(sizes[window], order.split(own[window]), strict=True):
            yield size, rows.take(chosen)


def batch_sizes(n_rows: int, batch_size: int) -> list[int]:
    """Rows of the batches of an epoch, nearly equal, as `hcvae.training.batches.epoch_batches` has them."""
    n_batches = math.ceil(n_rows / batch_size)
    size, larger = divmod(n_rows, n_batches)
    return [size + 1] * larger + [size] * (n_batches - larger)


def _cut(blocks: Iterator[Block], counts: Sequence[int]) -> Iterator[Block]:
    """The rows of the blocks, one after another, so many at a time."""
    waiting: list[Block] = []
    held = 0
    for count in counts:
        while held < count:
            block = next(blocks, None)
            if block is None:
                raise UserError("data.tables: a file has fewer rows than before the training; train anew")
            waiting.append(block)
            held += len(block["signals"])
        joined = {name: np.concatenate([block[name] for block in waiting]) for name in waiting[0]}
        yield {name: array[:count] for name, array in joined.items()}
        waiting, held = [{name: array[count:] for name, array in joined.items()}], held - count


def _generator(stream: RngStream, seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(keyed_seed(stream, seed, epoch))
