"""The live nodes of the cluster that Ray is connected to, and calling a function on each of them."""

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Answer = TypeVar("Answer")


def live_nodes() -> list[dict[str, Any]]:
    """Return what Ray reports of every live node, see `ray.nodes`."""
    return [node for node in ray.nodes() if node["Alive"]]


def ask_nodes(question: Callable[..., Answer], *arguments: object, gpus: float = 0) -> list[tuple[str, Answer]]:
    """Return the address and the answer of every live node that has `gpus`.

    `question` is called on all of them at the same time, in a process that reserves no CPU.
    """
    task = ray.remote(num_cpus=0, num_gpus=gpus)(question)
    addresses = []
    answers = []
    for node in live_nodes():
        if node["Resources"].get("GPU", 0) >= gpus:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            addresses.append(node["NodeManagerAddress"])
            answers.append(task.options(scheduling_strategy=place).remote(*arguments))
    return list(zip(addresses, ray.get(answers), strict=True))
