import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalCluster, local_cluster

ROOT = Path(__file__).resolve().parents[2]

# At 1 s an epoch, or so.
TINY: dict[str, Any] = {
    "model": {"width": 0.02},
    "data": {"simulator": {"rows": 600}},
    "training": {"epochs": 2, "batch_size": 64, "checkpoint_every_epochs": 1, "early_stopping_patience": None},
    "search": {"study": "tiny", "trials": 2, "sampler": "random"},
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[LocalCluster]:
    """A cluster of 3 nodes with 1 CPU each."""
    with local_cluster([1, 1, 1]) as cluster:
        yield cluster


@pytest.fixture
def run_there(three_nodes: LocalCluster) -> Run:
    """Runs a command in the checkout with the environment that uses `three_nodes`, but for the variables given."""

    def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        environment |= three_nodes.variables | variables
        words = list(map(str, command))
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)

    return run


@pytest.fixture
def submit(run_there: Run) -> Run:
    """Runs `python -m cluster.submit ARGUMENTS` for `three_nodes`."""

    def submit(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_there(sys.executable, "-m", "cluster.submit", *arguments, **variables)

    return submit


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A configuration file of trainings of seconds, with results in the test's folder."""
    file = tmp_path / "tiny.json"
    search = TINY["search"] | {"storage": str(tmp_path / "results")}
    file.write_text(json.dumps(TINY | {"search": search}))
    return file
