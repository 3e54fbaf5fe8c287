"""Private names of Ray 2.60: credentials that Tune propagates, errors of its actors, resources that Train leaves."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import ray._private.state
import ray.exceptions
import ray.tune.execution.class_cache
import ray.tune.execution.tune_controller
from ray._private.grpc_utils import init_grpc_channel
from ray.air.execution._internal import RayActorManager
from ray.core.generated import gcs_pb2, gcs_service_pb2, gcs_service_pb2_grpc
from ray.util.placement_group import PlacementGroup, remove_placement_group

from tune.internals import replaced, require

require("ray", "2.60")

AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files besides our own
    "TUNE_GLOBAL_CHECKPOINT_S": "600",  # Tune's snapshots are never read
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # our own view instead of Tune's
}


@contextmanager
def adapted_tune() -> Iterator[None]:
    """Adapt the Tuners of this process to our search; restore Ray as it was at the end."""
    with environment_set(TUNE_SETTINGS), _quiet_log(), _aws_credentials_not_propagated(), _lost_actors_survived():
        yield


def check_alive(address: str, timeout_s: float) -> None:
    """Check that the head of a Ray cluster answers at `address`.

    Raises:
        grpc.RpcError: something else answers there, or nothing, or the head refuses the token.
    """
    with init_grpc_channel(address) as channel:
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        head.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=timeout_s)


def release_abandoned() -> None:
    """Remove the placement groups that dead actors of this job have left.

    They hold the CPUs that the next attempt waits for. GCS keeps the group of a dead actor until the whole job ends.
    Ray Train's own cleaner uses the state API to check whether the controller lives: that API needs a dashboard, and
    fails on a machine with two Rays.
    """
    job = ray.get_runtime_context().get_job_id()
    dead = set(ray._private.state.actors(job_id=ray.JobID.from_hex(job), actor_state_name="DEAD"))
    for serialized in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = gcs_pb2.PlacementGroupTableData.FromString(serialized)
        if group.creator_actor_id.hex() in dead and group.state != gcs_pb2.PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


@contextmanager
def environment_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore at the end what they were before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def environment_defaults(variables: Mapping[str, str]) -> Iterator[None]:
    """Set those environment variables that have no value, and remove them at the end."""
    absent = {name: value for name, value in variables.items() if name not in os.environ}
    with environment_set(absent):
        yield


@contextmanager
def _quiet_log() -> Iterator[None]:
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _aws_credentials_not_propagated() -> Iterator[None]:
    """Keep the keys of an object store out of the runtime environment of Tune's actors.

    Ray shows that environment in the process list, in its logs and in its API. Each node has its own keys, or inherits
    those of this machine.
    """
    propagated = ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE
    removed = propagated.intersection(AWS_KEYS)
    propagated.difference_update(removed)
    try:
        yield
    finally:
        propagated.update(removed)


class _ActorManager(RayActorManager):  # type: ignore[misc]
    """Tune's own, but with every error of Ray handled as the death of the actor that should have answered."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


@contextmanager
def _lost_actors_survived() -> Iterator[None]:
    """Survive a trial's process that runs out of memory, which would otherwise end the search.

    Ray's memory monitor reports that death as an `OutOfMemoryError`. Tune's actor manager handles errors of actors and
    of their tasks only, and any other error ends the whole search.
    """
    with replaced(ray.tune.execution.tune_controller, "RayActorManager", _ActorManager):
        yield
