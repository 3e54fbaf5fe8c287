"""What to type after a job, quoted for a POSIX shell."""

import shlex
import shutil
import sys
from pathlib import Path

from hcvae.bundle import load
from hcvae.data.preprocessing import ConditionValue
from hcvae.storage import StoragePath


def activate_hint() -> str:
    """How to make the commands below work, where the shell does not have them yet; else nothing."""
    here = Path(sys.prefix) / "bin"
    found = shutil.which("hcvae")
    if found and Path(found).parent == here:
        return ""
    return f"\nfirst                 source {shlex.quote(from_here(here / 'activate'))}\n"


def from_here(place: str | Path | StoragePath) -> str:
    """A path as it is short to type: relative where it is below the current folder."""
    here, where = Path.cwd(), StoragePath.of(place)
    return str(where.path.relative_to(here)) if where.is_local and where.path.is_relative_to(here) else str(where)


def beside(place: str | StoragePath, name: str) -> str:
    """`name` in the folder that holds `place`; in `results` where that is an object store."""
    where = StoragePath.of(place)
    return from_here(where.path.parent / name) if where.is_local else f"results/{name}"


def generate_command(bundle: str | Path | StoragePath, name: str) -> str:
    """A command that generates with the model in `bundle`, where it is called `name`."""
    preprocessing = load(bundle).preprocessing
    group, values = next(iter(preprocessing.typical.items()))
    group_by, first = preprocessing.signal.group_by, preprocessing.static.columns[0].name
    conditions = ({group_by: group} if group_by else {}) | {first: values[first]}
    given = [word for column, value in conditions.items() for word in ("--condition", f"{column}={_text(value)}")]
    return shlex.join(["hcvae", "generate", name, *given, "--out", beside(name, "generated.parquet")])


def _text(value: ConditionValue) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else value
