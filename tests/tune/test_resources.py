import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import AutoscalingCluster, Cluster

from hcvae.errors import UserError
from hcvae.storage import Place
from tune.config import SearchSettings
from tune.resources import check_shared_folder, make_plan, plan_on_cluster, trial_resources, worker_resources


@pytest.mark.parametrize(
    ("settings", "nodes", "at_once"),
    [
        ({}, [{"CPU": 2}], 2),
        ({"max_concurrent": 1}, [{"CPU": 2}], 1),
        ({"max_concurrent": 9}, [{"CPU": 2}], 2),
        # 3 CPUs do not fit on either node, although the cluster has 4.
        ({"cpus_per_worker": 2}, [{"CPU": 3}, {"CPU": 3}], 2),
        ({"workers": 2}, [{"CPU": 2}], 1),
        ({"workers": 2}, [{"CPU": 3}, {"CPU": 2}], 2),
        ({"gpus_per_worker": 1}, [{"CPU": 8, "GPU": 2}, {"CPU": 8}], 2),
        ({"gpus_per_worker": 0.5}, [{"CPU": 8, "GPU": 1}], 2),
        # 0.4 of a GPU fits twice on each device, not five times on two.
        ({"gpus_per_worker": 0.4}, [{"CPU": 8, "GPU": 2}], 4),
        ({"gpus_per_worker": 0.1}, [{"CPU": 16, "GPU": 1}], 10),
    ],
)
def test_as_many_trials_as_the_nodes_hold(
    settings: dict[str, float], nodes: list[dict[str, float]], at_once: int
) -> None:
    assert make_plan(SearchSettings.model_validate(settings), nodes).at_once == at_once


@pytest.mark.parametrize(
    ("settings", "nodes"),
    [
        ({"workers": 3}, [{"CPU": 2}]),
        ({"cpus_per_worker": 4}, [{"CPU": 3}, {"CPU": 3}]),
        ({"gpus_per_worker": 1}, [{"CPU": 8}]),
    ],
)
def test_more_than_the_cluster_has_is_refused(settings: dict[str, float], nodes: list[dict[str, float]]) -> None:
    with pytest.raises(UserError, match=r"more than the cluster has.*--wait-for-resources"):
        make_plan(SearchSettings.model_validate(settings), nodes)


@pytest.mark.services
def test_an_autoscaler_is_asked_for_the_nodes_of_a_trial() -> None:
    """Ray's own autoscaler, with nodes on this machine; at first there is only a head without CPUs."""
    kinds = {"trials": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2}}
    cluster = AutoscalingCluster(head_resources={"CPU": 0}, worker_node_types=kinds)
    cluster.start()
    told: list[str] = []
    try:
        ray.init("auto", log_to_driver=False, logging_level="ERROR")
        with pytest.raises(UserError, match="more than the cluster has"):
            plan_on_cluster(SearchSettings(workers=2), False, told.append)
        assert told == []
        plan = plan_on_cluster(SearchSettings(workers=2, max_concurrent=3), True, told.append)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert sum(node.get("CPU", 0) for node in plan.nodes) == 2
    assert plan.at_once == 3
    assert len(told) == 1
    assert "a trial needs 2 worker(s) of 1 CPU(s)" in told[0]


def test_workers_of_a_trial_cannot_share_a_gpu() -> None:
    settings = SearchSettings(workers=2, gpus_per_worker=0.5)
    with pytest.raises(UserError, match=r"search\.gpus_per_worker"):
        make_plan(settings, [{"CPU": 8, "GPU": 8}])
    with pytest.raises(UserError, match=r"search\.gpus_per_worker"):  # no use in waiting
        plan_on_cluster(settings, True, print)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_a_full_cluster_has_room_for_the_drivers(workers: int) -> None:
    settings = SearchSettings(workers=workers)
    needed = workers * worker_resources(settings)["CPU"] + trial_resources(settings)["CPU"]
    assert needed <= workers


@pytest.mark.services
def test_a_folder_that_a_node_does_not_see_is_refused(tmp_path: Path) -> None:
    """The third node has a file system of its own in its place."""
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=small | {"include_dashboard": False})
    mount = f"mount -t tmpfs none {tmp_path} && exec {sys.prefix}/bin/ray start --address={cluster.address} --block"
    blind = None
    try:
        cluster.add_node(**small)
        ray.init(address=cluster.address, log_to_driver=False)
        check_shared_folder(Place.of(tmp_path))
        assert list(tmp_path.iterdir()) == []
        blind = subprocess.Popen(["unshare", "--mount", "sh", "-c", f"{mount} --num-cpus=1"], stdout=subprocess.DEVNULL)
        while sum(node["Alive"] for node in ray.nodes()) < 3:
            assert blind.poll() is None
            time.sleep(0.5)
        with pytest.raises(
            UserError, match=rf"search\.storage: {tmp_path} is another folder, or none, or out of reach, on \d+\."
        ):
            check_shared_folder(Place.of(tmp_path))
    finally:
        if blind is not None:
            blind.terminate()
            blind.wait()
        ray.shutdown()
        cluster.shutdown()
