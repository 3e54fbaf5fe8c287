"""A trial's process that Ray kills for want of memory is one death, not the end of the search.

Ray's memory monitor makes an `OutOfMemoryError` of the death. Tune's actor manager knows only errors of actors and of
their tasks, and ends the whole search at any other (Ray 2.60).
"""

from typing import Any

import ray.exceptions
import ray.tune.execution.tune_controller
from ray.air.execution._internal import RayActorManager


class _ActorManager(RayActorManager):  # type: ignore[misc]
    """Tune's own, to which every error of Ray's own is the death of the actor that was to answer."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def survive_lost_actors() -> None:
    """Let the Tuners of this process use the manager above."""
    ray.tune.execution.tune_controller.RayActorManager = _ActorManager
