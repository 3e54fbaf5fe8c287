"""Several trials on one GPU: how many, from the memory that the largest of them needs, and a bound on each."""

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError
from hcvae.training.footprint import footprint
from tune.config import SearchConfig, SearchSettings
from tune.placement.nodes import ask_nodes
from tune.space.search_space import largest

CUDA_BYTES = 2**30
"""Set aside for what CUDA and its libraries take in each process: an assumption, not measured."""


def with_gpus_shared(config: SearchConfig, data: Dataset) -> SearchConfig:
    """`config` with the part of a GPU that a trial gets in place of the wish for it, `search.share_gpus`.

    Raises:
        UserError: the cluster that Ray is connected to has no GPU.
    """
    if not config.search.share_gpus:
        return config
    part = part_of_gpu(needed_bytes(largest(config), data), smallest_gpu_bytes())
    chosen = config.search.model_copy(update={"gpus_per_worker": part, "share_gpus": False})
    return config.model_copy(update={"search": chosen})


def needed_bytes(config: Config, data: Dataset) -> int:
    """Memory of a GPU that a trial takes."""
    return CUDA_BYTES + footprint(config, data).total


def part_of_gpu(needed: int, gpu_bytes: int) -> float:
    """One over the number of trials that fit on a GPU together; a whole one where not even one does."""
    return 1 / max(1, gpu_bytes // needed)


def smallest_gpu_bytes() -> int:
    """Memory of the smallest GPU of the cluster.

    Raises:
        UserError: there is no GPU, or PyTorch does not see it.
    """
    sizes = ask_nodes(_gpu_bytes, gpus=0.01)
    if not sizes:
        raise UserError("search.share_gpus: the cluster has no GPU; set it to false, or start nodes with a GPU first")
    blind = [address for address, size in sizes if not size]
    if blind:
        raise UserError(
            f"search.share_gpus: PyTorch sees no GPU on {', '.join(blind)}, where Ray has one; install a CUDA build "
            "of torch there, or set share_gpus to false"
        )
    return min(size for _, size in sizes)


def bound_memory(settings: SearchSettings) -> None:
    """Let this process have its part of the GPU's memory and no more: a trial that needs more fails alone."""
    if settings.gpus_per_worker % 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(settings.gpus_per_worker)


def _gpu_bytes() -> int:
    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else 0
