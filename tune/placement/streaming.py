"""Tables larger than `data.memory_budget_gb`: their training rows come through Ray Data, read by tasks of any node.

Each worker of a training has an own pipeline over its own rows, so that the order of the rows is that of
`hcvae.training.streaming` however fast who reads. Reading tasks reserve no CPU: they must run while the workers of
trials fill the cluster.
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
"""Tasks that read for a worker at the same time: one alone waits while its blocks are taken."""
BLOCK_BYTES = 2**24
"""Ray Data joins smaller ones, by default up to 128 MiB."""


def prepare(config: Config) -> Dataset:
    """`hcvae.data.dataset.prepare`; where the tables exceed their budget, training rows stay on the disk.

    Raises:
        UserError: as there.
    """
    return prepare_stream(config, through_ray_data) if exceeds_budget(config) else dataset.prepare(config)


def through_ray_data(stream: Stream, spans: Sequence[Span]) -> Iterator[Block]:
    """The blocks of the spans, read by tasks and passed through the object store, in their order."""
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
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of each epoch
    yield from blocks.iter_batches(batch_size=None, batch_format="numpy")
