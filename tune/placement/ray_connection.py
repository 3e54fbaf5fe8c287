"""The connection to Ray: the one of this process, the cluster of RAY_ADDRESS, or one started on this machine."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

import hcvae
import tune
from hcvae.errors import UserError
from hcvae.interruption import handlers_kept
from tune.internals.ray_internals import environment_defaults
from tune.placement.cpus import usable_cpus
from tune.placement.ray_environment import REMEDY, check_head, cluster_address, local_folder, needed_token

MIB = 2**20
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


@contextmanager
def ray_cluster(data_bytes: int) -> Iterator[bool]:
    """Use the Ray that this process is connected to, or connect to that of RAY_ADDRESS, or start one on this machine.

    Yields whether Ray was started or connected here, and is shut down at the end.

    Raises:
        UserError: Ray cannot be reached or started; the message names the environment variable.
    """
    if ray.is_initialized():
        yield False
        return
    address = cluster_address()
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is None:
        variables |= needed_token()
    with environment_defaults(variables):
        try:
            if address is None:
                _start(data_bytes)
            else:
                _connect(address)
            yield True
        finally:
            _shut_down()


def _connect(address: str) -> None:
    print(f"Connecting to the Ray cluster at {address}", file=sys.stderr, flush=True)
    check_head(address)
    with _ray_starts("RAY_ADDRESS", f"cannot connect to {address!r}", REMEDY):
        ray.init(address, runtime_env=_shipped_code(), **QUIET)


def _start(data_bytes: int) -> None:
    print("Starting Ray on this machine", file=sys.stderr, flush=True)
    store = max(100 * MIB, 2 * data_bytes)
    remedy = (
        f"it needs {store / 2**30:.1f} GiB of memory for the data (data.memory_budget_gb), a folder to write to "
        "(RAY_TMPDIR, TMPDIR) and a token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH)"
    )
    with _ray_starts("Ray", "cannot start on this machine", remedy):
        ray.init(
            "local",
            num_cpus=usable_cpus(),
            include_dashboard=False,
            object_store_memory=store,
            runtime_env=_local_code(),
            _temp_dir=local_folder(),
            **QUIET,
        )


def _shut_down() -> None:
    with handlers_kept(signal.SIGTERM):  # where Ray was imported before `tune`, its end removes them
        try:
            ray.shutdown()
        except KeyboardInterrupt:  # do not leave processes behind
            ray.shutdown()
            raise


@contextmanager
def _ray_starts(where: str, what: str, remedy: str) -> Iterator[None]:
    """Turn Ray's errors into one message, and restore the handler of SIGTERM, which Ray replaces.

    Raises:
        KeyboardInterrupt: SIGTERM; Ray's own handler raises SystemExit.
        UserError: Ray raised an error.
    """
    with handlers_kept(signal.SIGTERM):
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None
        except UserError:
            raise
        except Exception as error:  # Ray raises `Exception` itself, too
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
            raise UserError(f"{where}: {what}: {reason}; {remedy}") from error


def _shipped_code() -> dict[str, list[str]]:
    # A submitted job already runs in a working directory that Ray ships to every node.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    return {"py_modules": [str(Path(module.__path__[0])) for module in (hcvae, tune)]}


def _local_code() -> dict[str, dict[str, str]]:
    paths = [str(Path(tune.__path__[0]).parent)]
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        paths.append(inherited)
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
