"""What a trial needs, what the cluster holds, and so how many trials run at once."""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import ray
import ray.autoscaler.sdk

import hcvae
import tune
from hcvae.errors import UserError
from hcvae.interruption import handlers_kept
from hcvae.storage import StoragePath
from tune.config import SearchSettings
from tune.placement.cpus import usable_cpus
from tune.placement.nodes import ask_nodes
from tune.placement.ray_environment import REMEDY, check_head, cluster_address, ensure_token, local_folder

DRIVER_CPU = 0.001
"""Of the function that waits for a trial's Ray Train workers; Ray refuses 0."""
SPARE_CPU = 0.01
"""Left free by each Ray Train worker, so that the driver of a trial fits beside workers that fill the cluster."""
MIB = 2**20
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """How the trials of a search share the cluster."""

    nodes: tuple[Resources, ...]
    """CPUs and GPUs of each node."""
    at_once: int
    """Trials that run at the same time."""

    def __str__(self) -> str:
        cpus, gpus = (sum(node.get(kind, 0) for node in self.nodes) for kind in ("CPU", "GPU"))
        return f"{self.at_once} at once, on {len(self.nodes)} node(s) with {cpus:g} CPUs and {gpus:g} GPUs"


def trial_resources(settings: SearchSettings) -> dict[str, float]:
    """What Ray Tune reserves for a trial: its one worker, or next to nothing where Ray Train reserves the workers."""
    return worker_resources(settings) if settings.workers == 1 else {"CPU": DRIVER_CPU}


def worker_resources(settings: SearchSettings) -> dict[str, float]:
    """What one worker reserves."""
    spare = SPARE_CPU if settings.workers > 1 else 0
    gpus = {"GPU": settings.gpus_per_worker} if settings.gpus_per_worker else {}
    return {"CPU": settings.cpus_per_worker - spare, **gpus}


def make_plan(settings: SearchSettings, nodes: Sequence[Resources]) -> Plan:
    """Fit as many trials as `nodes` hold, at most `max_concurrent`.

    Raises:
        UserError: not one trial fits, or workers of one trial would share a GPU.
    """
    _check_sharing(settings)
    workers = sum(_workers_on(node, settings) for node in nodes)
    if workers < settings.workers:
        plan = Plan(tuple(nodes), 0)
        raise UserError(
            f"workers: a trial needs {settings.workers} worker(s) of {settings.cpus_per_worker} CPU(s) and "
            f"{settings.gpus_per_worker:g} GPU(s), more than the cluster has ({str(plan).partition('on ')[2]}); "
            "lower workers, cpus_per_worker or gpus_per_worker, or wait with --wait-for-resources"
        )
    return Plan(tuple(nodes), min(workers // settings.workers, settings.max_concurrent or workers))


def plan_on_cluster(settings: SearchSettings, wait: bool, tell: Callable[[str], None]) -> Plan:
    """The plan on the cluster that Ray is connected to.

    `wait` asks an autoscaler for the nodes of a trial, and waits until one fits. It also lets `max_concurrent` trials
    run at once, fewer nodes or not: an autoscaler starts nodes for those that have none.

    Raises:
        UserError: as `make_plan`; with `wait` only where no cluster could hold a trial.
    """
    _check_sharing(settings)
    try:
        plan = _plan_now(settings)
    except UserError as error:
        if not wait:
            raise
        tell(f"waiting for resources: {error}")
        plan = _plan_when_it_fits(settings)
    return replace(plan, at_once=settings.max_concurrent) if wait and settings.max_concurrent else plan


def _plan_now(settings: SearchSettings) -> Plan:
    return make_plan(settings, [node["Resources"] for node in ray.nodes() if node["Alive"]])


def _plan_when_it_fits(settings: SearchSettings) -> Plan:
    # Without a request no autoscaler would know of the trials that wait.
    ray.autoscaler.sdk.request_resources(bundles=[worker_resources(settings)] * settings.workers)
    try:
        while True:
            time.sleep(2)
            with suppress(UserError):
                return _plan_now(settings)
    finally:
        ray.autoscaler.sdk.request_resources(bundles=[])


def _check_sharing(settings: SearchSettings) -> None:
    if settings.workers > 1 and settings.gpus_per_worker % 1:
        raise UserError(
            f"search.gpus_per_worker: data-parallel workers cannot share a GPU, but got {settings.gpus_per_worker:g}; "
            "take a whole number, or search.workers 1"
        )


def check_shared_folder(folder: StoragePath) -> None:
    """Check that each node of the cluster sees the same `folder`, by asking every one.

    Raises:
        UserError: a node does not; it is named.
    """
    if sum(node["Alive"] for node in ray.nodes()) == 1:
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
            "on every node and need one that all of them share and may read"
        )


@contextmanager
def ray_cluster(data_bytes: int) -> Iterator[bool]:
    """Connect to the Ray that this process already uses, to the one of RAY_ADDRESS, or start one on this machine.

    What is started or connected here is left again at the end; gives whether that is so.

    Raises:
        UserError: there is no Ray to be had; the message names the environment variable.
    """
    if ray.is_initialized():
        yield False
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = cluster_address()
    try:
        if address:
            _connect(address)
        else:
            _start(data_bytes)
        yield True
    finally:
        _shut_down()


def _connect(address: str) -> None:
    print(f"Connecting to the Ray cluster at {address}", file=sys.stderr, flush=True)
    check_head(address)
    with _ray_starts("RAY_ADDRESS", f"cannot connect to {address!r}", REMEDY):
        ray.init(address, runtime_env=_shipped_code(), **QUIET)


def _start(data_bytes: int) -> None:
    print("Starting Ray on this machine", file=sys.stderr, flush=True)
    ensure_token()
    store = max(100 * MIB, 2 * data_bytes)
    remedy = (
        f"it needs {store / 2**30:.1f} GiB of memory for the data (data.memory_budget_gb), a folder to write to "
        "(RAY_TMPDIR, TMPDIR) and a token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH)"
    )
    with _ray_starts("Ray", "cannot start on this machine", remedy):
        ray.init(
            "local",
            num_cpus=usable_cpus(),
            include_dashboard=False,
            object_store_memory=store,
            runtime_env=_local_code(),
            _temp_dir=local_folder(),
            **QUIET,
        )


def _shut_down() -> None:
    with handlers_kept(signal.SIGTERM):  # where Ray was imported before us, its end removes them
        try:
            ray.shutdown()
        except KeyboardInterrupt:  # processes would be left
            ray.shutdown()
            raise


@contextmanager
def _ray_starts(where: str, what: str, remedy: str) -> Iterator[None]:
    """Turn what Ray raises into one message, and restore the handler of SIGTERM, which Ray replaces.

    Raises:
        KeyboardInterrupt: SIGTERM; Ray's own handler raises SystemExit.
        UserError: Ray raised an error.
    """
    with handlers_kept(signal.SIGTERM):
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None
        except UserError:
            raise
        except Exception as error:  # Ray raises this very class, too
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
            raise UserError(f"{where}: {what}: {reason}; {remedy}") from error


def _sees(marker: StoragePath) -> bool:
    try:
        return marker.is_file()
    except (OSError, UserError):
        return False


def _workers_on(node: Resources, settings: SearchSettings) -> int:
    workers = int(node.get("CPU", 0) / settings.cpus_per_worker)
    if not settings.gpus_per_worker:
        return workers
    gpus = node.get("GPU", 0)
    # A worker's fraction of a GPU lies on one device.
    on_gpus = int(gpus / settings.gpus_per_worker)
    if settings.gpus_per_worker < 1:
        on_gpus = int(gpus) * int(1 / settings.gpus_per_worker + 1e-9)
    return min(workers, on_gpus)


def _shipped_code() -> dict[str, list[str]]:
    # A submitted job already runs in a working directory that Ray ships to every node.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    return {"py_modules": [str(Path(module.__path__[0])) for module in (hcvae, tune)]}


def _local_code() -> dict[str, dict[str, str]]:
    root = str(Path(tune.__path__[0]).parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
