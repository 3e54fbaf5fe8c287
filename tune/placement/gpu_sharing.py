"""Several trials on one GPU: as many as its memory holds, by the need of the largest trial, with a limit for each."""

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError
from hcvae.training.footprint import footprint
from tune.config import SearchConfig
from tune.placement.nodes import ask_nodes
from tune.space.search_space import corners
from tune.study.repetition import with_scale

CUDA_BYTES = 2**30
"""Memory of CUDA and its libraries in each process: an assumption, not measured."""


def with_gpus_shared(config: SearchConfig, data: Dataset) -> SearchConfig:
    """Return `config` with `search.share_gpus` replaced by the part of a GPU that each trial gets.

    Raises:
        UserError: the cluster that Ray is connected to has no GPU.
    """
    if not config.search.share_gpus:
        return config
    searched = [config]
    confirm = config.search.confirm
    if confirm is not None:
        searched.append(with_scale(config, confirm.epochs, confirm.width))
    needed = 0
    for each in searched:
        for training in corners(each, max):
            needed = max(needed, needed_bytes(training, data))
    part = part_of_gpu(needed, smallest_gpu_bytes())
    return config.with_settings(gpus_per_worker=part, share_gpus=False)


def needed_bytes(config: Config, data: Dataset) -> int:
    """Return the memory of a GPU that a trial needs."""
    return CUDA_BYTES + footprint(config, data).total


def part_of_gpu(needed: int, gpu_bytes: int) -> float:
    """Return one over the number of trials that fit on a GPU together; 1 where not even one fits."""
    return 1 / max(1, gpu_bytes // needed)


def smallest_gpu_bytes() -> int:
    """Return the memory of the smallest GPU of the cluster.

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


def bound_memory(gpus: float) -> None:
    """Limit this process to its part of the memory of a GPU: a trial that needs more then fails alone."""
    if gpus % 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)


def _gpu_bytes() -> int:
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(0).total_memory)
