"""The CPUs that this process may use: Ray and torch count all CPUs of the machine."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def usable_cpus() -> int:
    """Return the CPUs by affinity (taskset, Slurm) and by quotas of control groups, v1 and v2 (containers, systemd)."""
    return max(1, int(min(len(os.sched_getaffinity(0)), *_quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))))


def _quotas(membership: Path, mount: Path) -> Iterator[float]:
    yield float("inf")
    with suppress(FileNotFoundError):  # no control groups
        for line in membership.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                root = mount
                if controllers:  # v1
                    root = mount / "cpu"
                yield from _quotas_of(root, Path(group.lstrip("/")))


def _quotas_of(root: Path, group: Path) -> Iterator[float]:
    # In a container its own group may be the root, under the name from outside.
    for part in (group, *group.parents):
        folder = root / part
        with suppress(OSError, ValueError):  # not there, or "max"
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            allowed_us = int((folder / "cpu.cfs_quota_us").read_text())
            period_us = int((folder / "cpu.cfs_period_us").read_text())
            if allowed_us > 0:  # -1: none
                yield allowed_us / period_us
