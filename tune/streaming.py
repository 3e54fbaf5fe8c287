"""Tables larger than `data.memory_budget_gb`: their training rows come through Ray Data, read by tasks of any node.

Each worker of a training has an own pipeline over its own rows, so that the order of the rows is that of
`hcvae.training.streaming` however fast who reads. Reading tasks reserve no CPU: they must run while the workers of
trials fill the cluster.
"""

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
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK_BYTES
    shared = ray.put(stream)

    def read(row: dict[str, Any]) -> Iterator[Block]:
        yield from read_span(ray.get(shared), row["item"][0])

    with ray.data.DataContext.current(context):
        spans_of_tasks = ray.data.from_items(list(spans), override_num_blocks=len(spans))
        blocks = spans_of_tasks.map_batches(read, batch_size=1, num_cpus=0, concurrency=READERS)
        yield from blocks.iter_batches(batch_size=None, batch_format="numpy")
