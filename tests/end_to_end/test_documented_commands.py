"""Every command and every program on the pages that a newcomer reads first is run, page by page, in the page's order.

In a copy of the checkout whose configurations are cut down to seconds, with as few trials and waveforms as `SHORTER`
says.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hcvae.data.simulator import simulate
from hcvae.data.table import write_table

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COPIED = ("hcvae", "tune", "jobs", "cluster", "configs")
SHORTER = {"--samples 1000000": "--samples 2000", "--search.trials 12": "--search.trials 2"}
SERVERS = ("python -m jobs.dashboard", "hcvae explore")
"""Run until they are ended."""
FINDS_TROUBLE = ("hcvae diagnose",)
"""Exit code 1 where something is wrong, as with models trained for 2 epochs."""
NOT_RUN = {
    "make search": "by the test of the quickstart",
    "make test": "by whoever runs this",
    "source .venv/bin/activate": "its programs are on the path",
    "--search.gpus_per_worker": "needs a GPU",
    "--search.share_gpus": "needs a GPU",
    "export RAY_AUTH_MODE": "has gaps to fill; the variables are set",
}
Run = Callable[[str], str]


def steps(page: str) -> Iterator[tuple[str, str]]:
    """(console or python, what to run): each line of a console block without its comment, each program as a whole."""
    for language, text in BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            yield language, text
        else:
            lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
            yield from ((language, line) for line in lines if line and not any(name in line for name in NOT_RUN))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy after a small `make search`, with recordings of the user's, and files of a lab's."""
    checkout = tmp_path_factory.mktemp("prepared") / "checkout"
    checkout.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", ".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, checkout)
    for path in (checkout / "configs").glob("*.json"):
        config = json.loads(path.read_text())
        if "search" in config:
            config["model"] = config.get("model", {}) | {"width": 0.02}
            config["data"].get("simulator", {})["rows"] = 600
            config["training"] |= {"epochs": 2, "batch_size": 64}
            config["search"]["trials"] = 4
            if "confirm" in config["search"]:
                config["search"]["confirm"] = {"members": 1, "repeats": 2}
            path.write_text(json.dumps(config))
    write_table(simulate(600, 0), checkout / "recordings.parquet")
    write_table(simulate(64, 1), checkout / "others.parquet")
    mine = json.loads((checkout / "configs" / "quickstart.json").read_text())
    mine |= {"data": {"tables": ["recordings.parquet"]}, "search": {"study": "mine", "trials": 2}}
    (checkout / "my.json").write_text(json.dumps(mine))
    (checkout / "recordings").mkdir()
    shell(checkout)("hcvae simulate --rows 32 --out recordings/lab.csv")
    shell(checkout)("python -m jobs.search --config configs/quickstart.json")
    return checkout


@pytest.fixture
def checkout(prepared: Path, tmp_path: Path) -> Path:
    """The copy for one page."""
    return Path(shutil.copytree(prepared, tmp_path / "checkout"))


def shell(checkout: Path, **variables: str) -> Run:
    """Runs a line in `checkout`; returns what it printed."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment |= {"PATH": path, "HOME": str(home)} | variables

    def run(line: str) -> str:
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = ""
        if line.startswith(SERVERS):
            assert process.stdout is not None
            while "http://" not in said and (printed := process.stdout.readline()):
                said += printed
            process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=400)[0]
        assert process.returncode in ((0, 1) if line.startswith(FINDS_TROUBLE) else (0,)), f"{line}\n{said}"
        return said

    return run


def run_page(page: str, checkout: Path) -> None:
    run = shell(checkout)
    program = checkout / "program.py"
    for language, step in steps(page):
        if language == "python":
            program.write_text(step)
        run(step if language == "console" else "python program.py")


@pytest.mark.parametrize("page", ["README.md", "docs/workstation.md", "docs/own-data.md", "docs/search-space.md"])
def test_pages_that_begin_with_the_checkout(checkout: Path, page: str) -> None:
    run_page(page, checkout)


@pytest.mark.parametrize("page", ["docs/control.md", "docs/matlab-mne.md"])
def test_pages_that_begin_with_a_model(checkout: Path, page: str) -> None:
    shell(checkout)("python -m jobs.pull results/quickstart --out results/model")
    run_page(page, checkout)


def test_the_page_of_clusters(checkout: Path) -> None:
    """On the cluster that its own commands bring up and take down."""
    page = [step for _, step in steps("docs/clusters.md")]
    up, status, down = (f"python -m cluster.local {name}" for name in ("up --nodes 3 --cpus 1", "status", "down"))
    jobs = [step for step in page if step not in (up, status, down)]
    assert len(page) == len(jobs) + 3
    with tempfile.TemporaryDirectory() as temporary:  # short, as paths of sockets must be
        said = shell(checkout, TMPDIR=temporary)(up)
        exports = re.findall(r"export (.*)", said)[0]
        variables = dict(word.split("=", 1) for word in shlex.split(exports)) | {"TMPDIR": temporary}
        run = shell(checkout, **variables)
        try:
            run(status)
            run("python -m jobs.pull results/quickstart --out shared/model")
            run("hcvae simulate --rows 10000 --out shared/recordings.parquet")
            for job in jobs:
                run(job.replace("/shared", str(checkout / "shared")))
        finally:
            run(down)
