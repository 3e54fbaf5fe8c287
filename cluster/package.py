"""The package of a job: the checkout without the files that .gitignore and .rayignore name, and its requirements."""

import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

ROOT = Path(__file__).resolve().parents[1]
"""Root of the checkout."""
MAX_MIB = 20
"""Limit: the code has under 1 MiB, and anything larger is data, which every node would copy."""
MIB = 2**20


@dataclass(frozen=True)
class Package:
    """A zip file of a working directory."""

    path: Path
    files: dict[str, int]
    """Size in bytes by name."""

    def __str__(self) -> str:
        return f"{len(self.files)} files, {self.path.stat().st_size / MIB:.1f} MiB packed"


def pack(out: Path, root: Path = ROOT) -> Package:
    """Pack `root` into the zip file `out` as `ray job submit --working-dir` would.

    Raises:
        ClusterError: it holds more than `MAX_MIB`; the message names the largest files.
    """
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    create_package(str(root), out, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    with zipfile.ZipFile(out) as archive:
        files = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
    if sum(files.values()) > MAX_MIB * MIB:
        largest = []
        for name in sorted(files, key=lambda name: -files[name])[:3]:
            largest.append(f"{name} ({files[name] / MIB:.1f} MiB)")
        raise ClusterError(
            f"{root}: a job would copy {sum(files.values()) / MIB:.0f} MiB, more than {MAX_MIB}: {', '.join(largest)}; "
            "name in .rayignore what a job does not need, and keep data where all nodes can read it"
        )
    return Package(out, files)


def requirements(root: Path = ROOT) -> list[str]:
    """Return pip's requirements of a search, at the versions of constraints.txt; Ray itself is the cluster's."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = ["--constraint ${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}/constraints.txt"]
    for line in (*project["dependencies"], *project["optional-dependencies"]["search"]):
        if not line.startswith("ray["):
            needed.append(line)
    return needed
