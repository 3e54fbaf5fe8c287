"""`python -m cluster.local`: a Ray cluster of several nodes on this machine, for experiments and tests.

The cluster outlives the command. Its folder, which only its owner may enter, holds the token, the process ids of its
nodes and Ray's own files; `down` removes it.
"""

import json
import os
import secrets
import shlex
import shutil
import socket
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from cluster.errors import ClusterError, Parser, main
from cluster.nodes import Node

START_S = 120
"""Limit for a node to join: Ray's own 30 s are too short for several nodes that start on few cores."""
MIB = 2**20
MAX_SOCKET_LENGTH = "ray99/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.99"
"""The longest path of a socket in the cluster's folder."""
NOTICE = """Ray listens on every network interface of this machine: whoever has the token can run programs as you.
To use the cluster, in any shell:

  {exports}

dashboard  {dashboard}   (asks for the token)
search     python -m cluster.submit --follow search --config configs/quickstart.json
end it     {down}"""


@dataclass
class LocalCluster:
    """A running cluster, as its state file records it."""

    folder: Path
    dashboard_port: int
    object_store_mib: int
    """Shared memory of each node for objects."""
    address: str = ""
    """Address of the head, as in RAY_ADDRESS."""
    nodes: list[Node] = field(default_factory=list)
    """The head first."""

    @classmethod
    def up(cls, folder: Path, cpus: Sequence[int], gpus: int = 0, object_store_mib: int = 200) -> Self:
        """Start a head and `len(cpus) - 1` other nodes, each with its number of `cpus` and with `gpus` GPUs.

        Raises:
            ClusterError: the folder is in use, or a node did not start.
        """
        _make_folder(folder)
        cluster = cls(folder, _free_port(), object_store_mib)
        cluster._write_token()
        try:
            for number in cpus:
                cluster.add_node(number, gpus)
        except BaseException:  # also Ctrl-C: no node may outlive a failed start
            cluster.down()
            raise
        return cluster

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the cluster of `folder`.

        Raises:
            ClusterError: there is none.
        """
        try:
            state = json.loads((folder / "cluster.json").read_text())
        except FileNotFoundError:
            raise ClusterError(f"{folder}: no cluster here; start one with `{_command(folder, 'up')}`") from None
        nodes = [Node(**node) for node in state.pop("nodes")]
        return cls(folder, nodes=nodes, **state)

    @property
    def dashboard(self) -> str:
        """URL of the dashboard, and of the job API."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that uses the cluster."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": self.dashboard,
        }

    def add_node(self, cpus: int, gpus: int = 0) -> Node:
        """Start one more node, and wait until it has joined; the first is the head.

        Start one after another: nodes that start at the same moment choose the same names for their sockets. Each node
        gets the next GPUs of the machine.
        """
        options = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--object-store-memory={self.object_store_mib * MIB}"]
        # Several nodes share this machine's ports: each chooses free ones.
        options += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        number = len(self.nodes)
        n_nodes = self.n_alive + 1
        # A folder for each node: a node that first needs a job's files unpacks them over those that others are using.
        options += [f"--temp-dir={self.folder / f'ray{number}'}"]
        if self.nodes:
            options += [f"--address={self.address}"]
        else:
            options += ["--head", "--port=0", f"--dashboard-port={self.dashboard_port}", "--disable-usage-stats"]
            options += [f"--ray-client-server-port={_free_port()}"]
        node = Node.start(options, self._environment(number, gpus), self.folder / f"node-{number}.log")
        self.nodes.append(node)
        self._save()
        self._wait_for(node, n_nodes)
        return node

    @property
    def n_alive(self) -> int:
        """The number of nodes that run on this machine."""
        return sum(node.alive for node in self.nodes)

    def members(self) -> list[dict[str, Any]]:
        """Return the live nodes from the head's view: `node_id`, `is_head_node`, `resources_total` and more."""
        token = (self.folder / "token").read_text()
        request = urllib.request.Request(
            f"{self.dashboard}/api/v0/nodes?detail=1", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            nodes = json.load(answer)["data"]["result"]["result"]
        return [node for node in nodes if node["state"] == "ALIVE"]

    def down(self) -> None:
        """End all nodes, the head last, and remove the folder."""
        for node in reversed(self.nodes):
            node.stop()
        shutil.rmtree(self.folder)

    def _write_token(self) -> None:
        descriptor = os.open(self.folder / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))

    def _environment(self, number: int, gpus: int) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # A job's `python` is this one.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        if gpus:
            devices = range(number * gpus, (number + 1) * gpus)
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
        return environment | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            # Ray Train checks there whether a trial's leader lives; without it, it fails on a machine with two Rays.
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            # A node is dead after five checks without an answer. By default there is one in 3 s.
            "RAY_health_check_period_ms": "1000",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": str(START_S),
        }

    def _wait_for(self, node: Node, n_nodes: int) -> None:
        deadline = time.monotonic() + START_S
        while not self._has(n_nodes):
            if not node.alive or time.monotonic() > deadline:
                number = self.nodes.index(node)
                log = (self.folder / f"node-{number}.log").read_text()[-2000:]
                raise ClusterError(f"node {number} has not joined in {START_S} s; the end of its log:\n{log}")
            time.sleep(0.2)

    def _has(self, n_nodes: int) -> bool:
        if not self.address:
            written = self.folder / "ray0" / "ray_current_cluster"
            if written.exists():
                self.address = written.read_text()
            self._save()
        try:
            return bool(self.address) and len(self.members()) >= n_nodes
        except (urllib.error.URLError, ConnectionError):
            return False

    def _save(self) -> None:
        state = asdict(self)
        del state["folder"]
        temporary = self.folder / "cluster.json.tmp"
        temporary.write_text(json.dumps(state, indent=2))
        temporary.rename(self.folder / "cluster.json")


@contextmanager
def local_cluster(cpus: Sequence[int], gpus: int = 0) -> Iterator[LocalCluster]:
    """Start a cluster in a folder of its own, and end it at the end of the `with` block."""
    with tempfile.TemporaryDirectory(prefix="hcvae-", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster.up(Path(folder) / "c", cpus, gpus)
        try:
            yield cluster
        finally:
            cluster.down()


def run(arguments: Sequence[str]) -> int:
    """Start, end or show the cluster."""
    command = _parser().parse_args(arguments)
    if command.action == "up":
        cluster = LocalCluster.up(command.folder, [command.cpus] * command.nodes, command.gpus, command.object_store)
        print(f"{command.nodes} node(s) of {command.cpus} CPU(s) and {command.gpus} GPU(s) are up")
        print(_notice(cluster))
        return 0
    cluster = LocalCluster.read(command.folder)
    if command.action == "down":
        cluster.down()
        print(f"{len(cluster.nodes)} node(s) ended")
        return 0
    for number, node in enumerate(cluster.nodes):
        state = "runs" if node.alive else "has ended"
        print(f"node {number}  process {node.pid}  {state}")
    print(_notice(cluster))
    return int(cluster.n_alive < len(cluster.nodes))


def _parser() -> Parser:
    parser = Parser(prog="python -m cluster.local", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--folder", type=lambda text: Path(text).absolute(), default=_default_folder(), help="folder of its files"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start the cluster", description="Start a head and NODES - 1 other nodes.")
    up.add_argument("--nodes", type=_positive, default=3, help="number of nodes, including the head; default 3")
    up.add_argument("--cpus", type=_positive, default=1, help="CPUs of each node; default 1")
    up.add_argument("--gpus", type=int, default=0, help="GPUs of each node, in the order of the machine's; default 0")
    up.add_argument(
        "--object-store", type=_positive, default=200, help="MiB of shared memory of each node; default 200"
    )
    actions.add_parser("down", help="end the cluster that `up` has started")
    actions.add_parser("status", help="show the nodes and how to use them; exit code 1 where one has ended")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _notice(cluster: LocalCluster) -> str:
    exports = "export"
    for name, value in cluster.variables.items():
        exports += f" {name}={shlex.quote(value)}"
    return NOTICE.format(exports=exports, dashboard=cluster.dashboard, down=_command(cluster.folder, "down"))


def _command(folder: Path, action: str) -> str:
    """Return a command for the cluster of `folder`, to paste into a shell."""
    command = ["python", "-m", "cluster.local"]
    if folder != _default_folder():
        command += ["--folder", str(folder)]
    return shlex.join([*command, action])


def _default_folder() -> Path:
    place = Path(f"hcvae-{os.getuid()}", "cluster")
    folder = Path(tempfile.gettempdir()) / place
    if _too_long(folder):  # TMPDIR is often long in Slurm jobs
        return Path("/tmp") / place
    return folder


def _too_long(folder: Path) -> bool:
    return len(os.fsencode(folder / MAX_SOCKET_LENGTH)) > 107


def _make_folder(folder: Path) -> None:
    """Make `folder`, in a folder that nobody else may enter."""
    if _too_long(folder):
        raise ClusterError(
            f"--folder: too long for the names of Ray's sockets: {folder}; name one of 30 characters at most"
        )
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(f"--folder: cannot make {folder.parent}: {error.strerror}; name another") from error
    parent = folder.parent.lstat()
    if not stat.S_ISDIR(parent.st_mode) or parent.st_uid != os.getuid() or parent.st_mode & 0o077:
        raise ClusterError(f"{folder.parent}: must be a folder of yours with mode 0700; name another with --folder")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise ClusterError(
            f"{folder}: holds a cluster already; `{_command(folder, 'status')}` shows it, "
            f"`{_command(folder, 'down')}` ends it"
        ) from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main(run))
