"""Resources of trials and of the cluster: how many trials run at once, and whether all nodes share a folder."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import ray
import ray.autoscaler.sdk

from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchSettings
from tune.placement.nodes import ask_nodes, live_nodes

DRIVER_CPU = 0.001
"""CPU of the function that waits for a trial's Ray Train workers; Ray refuses 0."""
SPARE_CPU = 0.01
"""CPU that each Ray Train worker leaves free, so that a trial's driver fits beside workers that fill the cluster."""

Resources = Mapping[str, float]


@dataclass(frozen=True)
class WorkerGroup:
    """The data-parallel workers of one training."""

    size: int = 1
    """How many; one trains in the process of its trial, several through Ray Train."""
    cpus: int = 1
    """CPUs, and so threads, of each worker."""
    gpus: float = 0
    """GPUs of each worker; a fraction shares one."""

    @classmethod
    def of(cls, settings: SearchSettings) -> "WorkerGroup":
        """Return the workers of each trial of a search."""
        return cls(settings.workers, settings.cpus_per_worker, settings.gpus_per_worker)


@dataclass(frozen=True)
class Plan:
    """How the trials of a search share the cluster."""

    nodes: tuple[Resources, ...]
    """CPUs and GPUs of each node."""
    at_once: int
    """Trials that run at the same time."""

    def __str__(self) -> str:
        return f"{self.at_once} at once, on {_described(self.nodes)}"


def trial_resources(workers: WorkerGroup) -> dict[str, float]:
    """Return what Ray Tune reserves for a trial: its one worker, or next to nothing where Ray Train reserves several
    workers itself."""
    if workers.size > 1:
        return {"CPU": DRIVER_CPU}
    return worker_resources(workers)


def worker_resources(workers: WorkerGroup) -> dict[str, float]:
    """Return what each worker reserves."""
    resources: dict[str, float] = {"CPU": workers.cpus}
    if workers.size > 1:
        resources["CPU"] -= SPARE_CPU
    if workers.gpus:
        resources["GPU"] = workers.gpus
    return resources


def make_plan(workers: WorkerGroup, nodes: Sequence[Resources], max_concurrent: int | None = None) -> Plan:
    """Fit as many trials as `nodes` hold, at most `max_concurrent`.

    Raises:
        UserError: not one trial fits, or the workers of one trial would share a GPU.
    """
    _check_sharing(workers)
    n_fit = sum(_workers_on(node, workers) for node in nodes)
    if n_fit < workers.size:
        raise UserError(
            f"workers: a trial needs {counted(workers.size, 'worker')} of {counted(workers.cpus, 'CPU')} and "
            f"{counted(workers.gpus, 'GPU')}, more than the cluster has ({_described(nodes)}); "
            "lower workers, cpus_per_worker or gpus_per_worker, or wait with --wait-for-resources"
        )
    return Plan(tuple(nodes), min(n_fit // workers.size, max_concurrent or n_fit))


def plan_on_cluster(
    workers: WorkerGroup, wait: bool, show: Callable[[str], None], max_concurrent: int | None = None
) -> Plan:
    """Return the plan on the cluster that Ray is connected to.

    `wait` asks an autoscaler for the nodes of a trial, and waits until one fits. It also runs `max_concurrent` trials
    at once even where the nodes are too few for them: an autoscaler starts nodes for trials that have none.

    Raises:
        UserError: as `make_plan`; with `wait` only where no cluster could hold a trial.
    """
    _check_sharing(workers)
    try:
        plan = _plan_now(workers, max_concurrent)
    except UserError as error:
        if not wait:
            raise
        show(f"waiting for resources: {error}")
        plan = _plan_when_it_fits(workers, max_concurrent)
    if wait and max_concurrent:
        return replace(plan, at_once=max_concurrent)
    return plan


def _plan_now(workers: WorkerGroup, max_concurrent: int | None) -> Plan:
    nodes = [node["Resources"] for node in live_nodes()]
    return make_plan(workers, nodes, max_concurrent)


def _plan_when_it_fits(workers: WorkerGroup, max_concurrent: int | None) -> Plan:
    # An autoscaler sees waiting trials only through a request.
    ray.autoscaler.sdk.request_resources(bundles=[worker_resources(workers)] * workers.size)
    try:
        while True:
            time.sleep(2)
            with suppress(UserError):
                return _plan_now(workers, max_concurrent)
    finally:
        ray.autoscaler.sdk.request_resources(bundles=[])


def _check_sharing(workers: WorkerGroup) -> None:
    if workers.size > 1 and workers.gpus % 1:
        raise UserError(
            f"search.gpus_per_worker: data-parallel workers cannot share a GPU, but got {workers.gpus:g}; "
            "use a whole number, or search.workers 1"
        )


def _described(nodes: Sequence[Resources]) -> str:
    cpus = counted(_total(nodes, "CPU"), "CPU")
    gpus = counted(_total(nodes, "GPU"), "GPU")
    return f"{counted(len(nodes), 'node')} with {cpus} and {gpus}"


def _total(nodes: Sequence[Resources], resource: str) -> float:
    return sum(node.get(resource, 0) for node in nodes)


def check_shared_folder(folder: StoragePath) -> None:
    """Check that every node of the cluster sees the same `folder`.

    Raises:
        UserError: a node does not; the message names it.
    """
    if len(live_nodes()) == 1:
        return
    marker = folder / f".seen-{uuid.uuid4().hex}"
    marker.write(b"")
    try:
        blind = [address for address, sees in ask_nodes(_sees, marker) if not sees]
    finally:
        marker.remove()
    if blind:
        raise UserError(
            f"search.storage: {folder} is another folder, or none, or out of reach, on {', '.join(blind)}; trials run "
            "on every node, and need a folder that all of them share and may read"
        )


def _sees(marker: StoragePath) -> bool:
    try:
        return marker.is_file()
    except (OSError, UserError):
        return False


def _workers_on(node: Resources, workers: WorkerGroup) -> int:
    by_cpus = int(node.get("CPU", 0) / workers.cpus)
    if not workers.gpus:
        return by_cpus
    gpus = node.get("GPU", 0)
    if workers.gpus >= 1:
        return min(by_cpus, int(gpus / workers.gpus))
    # A worker's fraction of a GPU lies on one device.
    return min(by_cpus, int(gpus) * int(1 / workers.gpus + 1e-9))
