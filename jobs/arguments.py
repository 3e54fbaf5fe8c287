"""Parts that the command lines of this package share."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.locations import is_uri

CONFIG_HELP = (
    "JSON configuration file; options on the command line override its keys. Its input paths (data.tables, "
    "training.start_from) are relative to the file, those on the command line to the current folder."
)
COMMON_OPTIONS = frozenset(
    {
        *("config", "dry-run", "log-json", "wait-for-resources"),
        *("data.simulator.rows", "data.split.unit", "data.static", "data.tables", "model.width"),
        *("training.batch_size", "training.device", "training.epochs", "training.learning_rate", "training.precision"),
        *("training.seed",),
    }
)
"""Options of a training that `--help` lists; the configuration file usually sets the others."""
SEARCH_EXTRA = ("optuna", "optuna_dashboard", "pandas", "plotly", "psycopg", "ray")
"""Modules of the extra `search`, by the names under which they are imported."""


def without(arguments: Sequence[str], option: str) -> list[str]:
    """Return the arguments without an option that takes a value."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option)
    return parser.parse_known_args(arguments)[1]


def read_config(path: str) -> dict[str, Any]:
    """Return the configuration in a JSON file, with its input paths resolved against the folder of that file.

    Raises:
        UserError: as `command_line.read_json`.
    """
    content = command_line.read_json(path)
    folder = Path(path).absolute().parent
    for section, key in (("data", "tables"), ("training", "start_from")):
        if isinstance(content.get(section), dict) and key in content[section]:
            content[section][key] = _from_folder(folder, content[section][key])
    return content


def _from_folder(folder: Path, paths: Any) -> Any:
    """Return `paths`, one or a list, resolved against `folder`; URIs stay, and values that are no paths are for the
    validation to refuse."""
    if isinstance(paths, list):
        return [_from_folder(folder, path) for path in paths]
    if isinstance(paths, str) and not is_uri(paths):
        return str(folder / os.path.expanduser(paths))
    return paths


def lasting(place: str) -> str:
    """Return `place`, in a job of `ray job submit` resolved against the home folder of the head node's user: such a job
    runs in a copy of the checkout, which Ray deletes some time after its end."""
    is_submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    if is_submitted and not is_uri(place):
        return str(Path.home() / place)
    return place


def start(line: str, tables: Sequence[str] = (), *, ray: bool) -> None:
    """Print the first line of a job before its imports, which take seconds, and after all checks that are quick.

    Raises:
        UserError: a file of `tables` is no Parquet file, or `ray` is needed and RAY_ADDRESS names no cluster.
        ModuleNotFoundError: `ray` is needed and not installed.
    """
    from hcvae.data.table import open_parquet
    from tune.placement.ray_environment import check_head, cluster_address

    for table in tables:
        with open_parquet(table):
            pass
    if ray and find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")
    address = cluster_address() if ray else None
    print(line, file=sys.stderr, flush=True)
    if address:
        check_head(address)


def main(program: Callable[[Sequence[str]], int]) -> int:
    """Run `hcvae.command_line.main` for a program that needs the extra `search`, and report where that is missing."""

    def run(arguments: Sequence[str]) -> int:
        try:
            return program(arguments)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in SEARCH_EXTRA:
                raise
            raise UserError(
                f"{error.name} is not installed; install what a search needs with "
                "`pip install --constraint constraints.txt --editable '.[search]'`"
            ) from error

    return command_line.main(run)
