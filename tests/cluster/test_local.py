import shlex
from pathlib import Path

import pytest

from cluster import local
from cluster.errors import ClusterError


def test_the_command_for_another_folder_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    with pytest.raises(ClusterError) as none_there:
        local.run(["--folder", str(folder), "status"])
    command = str(none_there.value).partition("`")[2].rpartition("`")[0]
    assert shlex.split(command) == ["python", "-m", "cluster.local", "--folder", str(folder), "up"]
