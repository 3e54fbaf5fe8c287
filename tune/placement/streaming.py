"""Tables larger than `data.memory_budget_gb`: tasks on any node read their training rows, through Ray Data.

Each worker of a training has its own pipeline over its own rows, so that the order of the rows is that of
`hcvae.training.streaming`, however fast each task reads. Reading tasks reserve no CPU: they must run while the workers
of trials fill the cluster.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import ray.data

from hcvae.config import Config
from hcvae.data import dataset
from hcvae.data.dataset import Dataset
from hcvae.data.streaming import Block, Span, Stream, exceeds_budget, prepare_stream, read_span

READERS = 2
"""Tasks that read for a worker at the same time: a single one waits while its blocks are consumed."""
BLOCK_BYTES = 2**24
"""Target size of a block: Ray Data joins smaller ones, by default up to 128 MiB."""


def prepare(config: Config) -> Dataset:
    """Prepare the data; where the tables exceed their budget, training rows stay on the disk.

    Raises:
        UserError: as `hcvae.data.dataset.prepare`.
    """
    if exceeds_budget(config):
        return prepare_stream(config, through_ray_data)
    return dataset.prepare(config)


def through_ray_data(stream: Stream, spans: Sequence[Span]) -> Iterator[Block]:
    """Yield the blocks of the spans in their order, read by tasks and passed through the object store."""
    shared = ray.put((stream, tuple(spans)))

    def read(row: dict[str, Any]) -> Iterator[Block]:
        stream, spans = ray.get(shared)
        yield from read_span(stream, spans[row["item"][0]])

    numbers = ray.data.from_items(list(range(len(spans))), override_num_blocks=len(spans))  # range would take a CPU
    numbers.context.execution_options.preserve_order = True
    numbers.context.enable_progress_bars = False
    numbers.context.target_max_block_size = BLOCK_BYTES
    pool = ray.data.TaskPoolStrategy(size=min(READERS, len(spans)))
    blocks = numbers.map_batches(read, batch_size=1, num_cpus=0, compute=pool)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs each epoch
    yield from blocks.iter_batches(batch_size=None, batch_format="numpy")
