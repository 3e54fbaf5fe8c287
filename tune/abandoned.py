"""Placement groups whose Ray Train controller has died: they would hold the CPUs that the next attempt waits for.

GCS keeps the group of a dead actor until its whole job ends. Ray Train's own cleaner asks the state API whether the
controller lives, which there is only with a dashboard, and fails where a machine has two Rays (Ray 2.60).
"""

import ray
import ray._private.state
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group


def release_abandoned() -> None:
    """Remove the placement groups that dead actors of this job have left."""
    job = ray.get_runtime_context().get_job_id()
    dead = set(ray._private.state.actors(job_id=ray.JobID.from_hex(job), actor_state_name="DEAD"))
    for serialized in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = gcs_pb2.PlacementGroupTableData.FromString(serialized)
        if group.creator_actor_id.hex() in dead and group.state != gcs_pb2.PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
