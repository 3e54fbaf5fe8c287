"""Calling a function on every node of the cluster that Ray is connected to."""

from collections.abc import Callable
from typing import TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Answer = TypeVar("Answer")


def ask_nodes(question: Callable[..., Answer], *arguments: object, gpus: float = 0) -> list[tuple[str, Answer]]:
    """Return the address and the answer of every live node that has `gpus`.

    `question` is called on all of them at the same time, in a process that reserves no CPU.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) >= gpus]
    task = ray.remote(num_cpus=0, num_gpus=gpus)(question)
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    answers = ray.get([task.options(scheduling_strategy=place).remote(*arguments) for place in places])
    return list(zip([node["NodeManagerAddress"] for node in nodes], answers, strict=True))
