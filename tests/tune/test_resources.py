import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from cluster.nodes import Node
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchSettings
from tune.placement.resources import (
    WorkerGroup,
    check_shared_folder,
    make_plan,
    plan_on_cluster,
    trial_resources,
    worker_resources,
)

ROOT = Path(__file__).resolve().parents[2]


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
    search = SearchSettings.model_validate(settings)
    assert make_plan(WorkerGroup.of(search), nodes, search.max_concurrent).at_once == at_once


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
        make_plan(WorkerGroup.of(SearchSettings.model_validate(settings)), nodes)


@pytest.fixture
def autoscaling(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for a head without CPUs, and Ray's own autoscaler: up to 2 nodes with 1 CPU on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, client_port = (free.getsockname()[1] for free in (one, other))
    trials = {
        "resources": {"CPU": 1, "object_store_memory": 10**8},
        "node_config": {},
        "min_workers": 0,
        "max_workers": 2,
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    lists = ("initialization_commands", "rsync_exclude", "rsync_filter", "cluster_synced_files")
    commands = [f"{kind}setup_commands" for kind in ("", "head_", "worker_")]
    commands += [f"{kind}_start_ray_commands" for kind in ("head", "worker")]
    definition = {
        "cluster_name": "small",
        "max_workers": 2,
        "provider": {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}", "launch_multiple": True},
        "available_node_types": {"trials": trials, "ray.head.default": head},
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1,
        "idle_timeout_minutes": 1,
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in (*lists, *commands)},
        "file_mounts_sync_continuously": False,
    }
    (tmp_path / "cluster.json").write_text(json.dumps(definition))
    options = ["--head", f"--port={port}", "--num-cpus=0", f"--autoscaling-config={tmp_path / 'cluster.json'}"]
    options += [f"--ray-client-server-port={client_port}", "--dashboard-agent-listen-port=0"]
    options += [
        "--include-dashboard=false",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--object-store-memory=100000000",
    ]
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    own = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    node = Node.start(options, environment | own, tmp_path / "head.log")
    try:
        while "Ray runtime started" not in (tmp_path / "head.log").read_text():
            assert node.alive
            time.sleep(0.2)
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        node.kill()


@pytest.mark.services
def test_an_autoscaler_is_asked_for_the_nodes_of_a_trial(autoscaling: dict[str, str], tmp_path: Path) -> None:
    def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
        search = {"storage": str(tmp_path / "results"), "workers": "2", "max_concurrent": "3"}
        options = [f"--search.{name}={value}" for name, value in search.items()]
        command = [sys.executable, "-m", "jobs.search", "--dry-run", "--data.simulator.rows=600", *options, *arguments]
        return subprocess.run(command, cwd=ROOT, env=autoscaling, capture_output=True, text=True, timeout=200)

    refused = plan()
    assert refused.returncode == 2
    assert "a trial needs 2 workers of 1 CPU and 0 GPUs, more than the cluster has" in refused.stderr
    waited = plan("--wait-for-resources")
    assert waited.returncode == 0, waited.stderr
    assert "waiting for resources: workers: a trial needs 2 workers" in waited.stderr
    assert "3 at once, on 3 nodes with 2 CPUs" in waited.stdout


def test_workers_of_a_trial_cannot_share_a_gpu() -> None:
    workers = WorkerGroup(size=2, gpus=0.5)
    with pytest.raises(UserError, match=r"search\.gpus_per_worker"):
        make_plan(workers, [{"CPU": 8, "GPU": 8}])
    with pytest.raises(UserError, match=r"search\.gpus_per_worker"):  # no use in waiting
        plan_on_cluster(workers, True, print)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_full_cluster_has_room_for_the_drivers(size: int) -> None:
    workers = WorkerGroup(size)
    needed = size * worker_resources(workers)["CPU"] + trial_resources(workers)["CPU"]
    assert needed <= size


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
        check_shared_folder(StoragePath.of(tmp_path))
        assert list(tmp_path.iterdir()) == []
        blind = subprocess.Popen(["unshare", "--mount", "sh", "-c", f"{mount} --num-cpus=1"], stdout=subprocess.DEVNULL)
        while sum(node["Alive"] for node in ray.nodes()) < 3:
            assert blind.poll() is None
            time.sleep(0.5)
        with pytest.raises(
            UserError, match=rf"search\.storage: {tmp_path} is another folder, or none, or out of reach, on \d+\."
        ):
            check_shared_folder(StoragePath.of(tmp_path))
    finally:
        if blind is not None:
            blind.terminate()
            blind.wait()
        ray.shutdown()
        cluster.shutdown()
