import subprocess
import sys
from pathlib import Path

import pytest

from tune.placement.cpus import _quotas


def test_cpus_are_those_of_the_affinity() -> None:
    command = [
        "taskset",
        "-c",
        "0",
        sys.executable,
        "-c",
        "from tune.placement.cpus import usable_cpus; print(usable_cpus())",
    ]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "1\n"


V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
QUOTA = ("50000", "100000")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, []),
        ("0::/\n", {"cpu.max": "150000 100000"}, [1.5]),
        # The tightest is a group above: Slurm's or systemd's.
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000", "job/cpu.max": "100000 50000"}, [2]),
        ("0::/docker/1234\n", {"cpu.max": "300000 100000"}, [3]),  # of a container that sees itself as the root
        (
            "5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n",
            dict(zip([f"cpu/a/{name}" for name in V1], QUOTA, strict=True)),
            [0.5],
        ),
        ("4:cpu:/\n", dict(zip([f"cpu/{name}" for name in V1], ("-1", "100000"), strict=True)), []),
        ("4:cpuset:/\n", dict(zip([f"cpu/{name}" for name in V1], QUOTA, strict=True)), []),
    ],
)
def test_quotas_of_control_groups(
    tmp_path: Path, membership: str, files: dict[str, str], expected: list[float]
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert [*_quotas(tmp_path / "membership", tmp_path)] == [float("inf"), *expected]


def test_without_control_groups(tmp_path: Path) -> None:
    assert [*_quotas(tmp_path / "none", tmp_path)] == [float("inf")]
