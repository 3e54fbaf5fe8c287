"""The processes that train one model together. One process alone is the same code with `size` 1."""

from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process's place among the data-parallel workers."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> "Workers":
        """The initialised process group, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls(0, 1)

    @property
    def first(self) -> bool:
        """Whether this worker evaluates, writes and reports."""
        return self.rank == 0

    @property
    def own(self) -> slice:
        """This worker's rows of a batch."""
        return slice(self.rank, None, self.size)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` added up over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def share(self, value: T) -> T:
        """Rank 0's value, told to everyone; what the others pass is not read."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Everyone's value, by rank."""
        if self.size == 1:
            return [value]
        box: list[T | None] = [None] * self.size
        dist.all_gather_object(box, value)
        return cast(list[T], box)
