"""The processes that train one model together; a single process is a group of size 1."""

from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process's rank among the data-parallel workers, and what they exchange."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> "Workers":
        """Return the initialised process group, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)

    @property
    def is_rank_0(self) -> bool:
        """Whether this is the worker that evaluates, writes and reports."""
        return self.rank == 0

    @property
    def own(self) -> slice:
        """This worker's rows of a batch."""
        return slice(self.rank, None, self.size)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add `tensor` up over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def share(self, value: T) -> T:
        """Return rank 0's value on every worker; the values of the other workers are ignored."""
        if self.size == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared, src=0)
        return shared[0]

    def gather(self, value: T) -> list[T]:
        """Return every worker's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return cast(list[T], values)
