"""Commands to run after a job, quoted for a POSIX shell."""

import shlex
import shutil
import sys
from pathlib import Path

from hcvae.bundle import load
from hcvae.data.preprocessing import ConditionValue
from hcvae.storage import StoragePath


def activate_hint() -> str:
    """Return how to activate the environment of the commands, or nothing where the shell already has them."""
    here = Path(sys.prefix) / "bin"
    found = shutil.which("hcvae")
    if found and Path(found).parent == here:
        return ""
    return f"\nfirst                 source {shlex.quote(from_here(here / 'activate'))}\n"


def from_here(place: str | Path | StoragePath) -> str:
    """Return the shortest form of a path: relative if it is below the current folder."""
    here = Path.cwd()
    where = StoragePath.of(place)
    if where.is_local and where.path.is_relative_to(here):
        return str(where.path.relative_to(here))
    return str(where)


def next_to(place: str | StoragePath, name: str) -> str:
    """Return `name` in the folder of `place`, or in `results` where that is an object store."""
    where = StoragePath.of(place)
    if where.is_local:
        return from_here(where.path.parent / name)
    return f"results/{name}"


def generate_command(bundle: str | Path | StoragePath, name: str) -> str:
    """Return a command that generates with the model in `bundle`, whose path is shown as `name`."""
    preprocessing = load(bundle).preprocessing
    group, values = next(iter(preprocessing.typical.items()))
    group_by = preprocessing.signal.group_by
    first = preprocessing.static.columns[0].name
    conditions: dict[str, ConditionValue] = {}
    if group_by:
        conditions[group_by] = group
    conditions[first] = values[first]
    command = ["hcvae", "generate", name]
    for column, value in conditions.items():
        command += ["--condition", f"{column}={_text(value)}"]
    return shlex.join([*command, "--out", next_to(name, "generated.parquet")])


def _text(value: ConditionValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    return value
