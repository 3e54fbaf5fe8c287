"""`python -m cluster.submit`: run a job of this checkout on a Ray cluster, follow it and stop it."""

import argparse
import asyncio
import logging
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from cluster.errors import INTERRUPTED, ClusterError, Parser, main
from cluster.package import pack, requirements
from cluster.secrecy import refuse_secrets

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JOBS = ("search", "train", "generate")
CONNECT_S = 5
ADDRESS = "http://127.0.0.1:8265"
"""Default address of Ray's dashboard."""
EPILOG = """options of submit come before the job's name, those of the job after it:
  python -m cluster.submit --follow search --config configs/quickstart.json
  python -m cluster.submit --submission-id night-1 --metadata purpose=baseline search --search.trials 200
  python -m cluster.submit --install train --config configs/quickstart.json --out results/one-model
  python -m cluster.submit --status night-1 --follow
  python -m cluster.submit --stop night-1

The cluster's address is taken from RAY_API_SERVER_ADDRESS, its token by RAY_AUTH_MODE=token from RAY_AUTH_TOKEN_PATH or
RAY_AUTH_TOKEN. With --follow the exit code is the job's own, 130 where it was stopped."""


def run(arguments: Sequence[str]) -> int:
    """Submit, stop or show a job."""
    parser = _parser()
    command = parser.parse_args(arguments)
    if [command.job, command.stop, command.status].count(None) != 2:
        parser.error(f"name one job ({', '.join(JOBS)}), or --status ID, or --stop ID")
    refuse_secrets("--address", command.address)
    if command.stop:
        with _cluster(command.address) as client:
            return _stop(client, command.stop)
    if command.status:
        with _cluster(command.address) as client:
            _show(client, command.status)
            if command.follow:
                return _follow(client, command.status)
            return 0
    return _submit(command)


def _submit(command: argparse.Namespace) -> int:
    entrypoint = shlex.join(["python", "-m", f"jobs.{command.job}", *command.arguments])
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(command.stop_wait)} | _pairs("--env", command.env)
    metadata = _pairs("--metadata", command.metadata)
    refuse_secrets("the job's arguments", " ".join(command.arguments))
    with _cluster(command.address) as client, tempfile.TemporaryDirectory() as folder:
        package = pack(Path(folder) / "working-dir.zip")
        environment: dict[str, Any] = {"working_dir": str(package.path), "env_vars": variables}
        if command.install:
            environment["pip"] = requirements()
        job = client.submit_job(
            entrypoint=entrypoint, submission_id=command.submission_id, runtime_env=environment, metadata=metadata
        )
        print(f"job        {job}   ({package})")
        print(f"dashboard  {client.get_address()}/#/jobs/{job}")
        print(f"look at it {_again('--status', job)} --follow")
        print(f"stop it    {_again('--stop', job)}", flush=True)
        if command.follow:
            return _follow(client, job)
        return 0


def _follow(client: "JobSubmissionClient", job: str) -> int:
    """Print the job's log until it ends; return its exit code."""

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            print(text, end="", flush=True)

    try:
        asyncio.run(tail())
        info = _end(client, job)
    except KeyboardInterrupt:
        print(f"\nthe job continues; end it with `{_again('--stop', job)}`", file=sys.stderr)
        return INTERRUPTED
    print(_summary(info), file=sys.stderr)
    return exit_code(info)


def _again(option: str, job: str) -> str:
    """Return a command for the job, to paste into a shell."""
    return shlex.join(["python", "-m", "cluster.submit", option, job])


def exit_code(info: Any) -> int:
    """Return the exit code of an ended job: its driver's, 128 plus a signal that ended it, or 130 if it was stopped."""
    if info.status == "STOPPED":
        return INTERRUPTED
    code: int | None = info.driver_exit_code
    if code is None:
        return int(info.status != "SUCCEEDED")
    if code < 0:  # the number of a signal
        return 128 - code
    return code


def _stop(client: "JobSubmissionClient", job: str) -> int:
    client.stop_job(job)
    print(_summary(_end(client, job)))
    return 0


def _end(client: "JobSubmissionClient", job: str) -> Any:
    while True:
        info = client.get_job_info(job)
        if info.status.is_terminal():
            return info
        time.sleep(0.5)


def _show(client: "JobSubmissionClient", job: str) -> None:
    info = client.get_job_info(job)
    print(_summary(info))
    print(f"entrypoint {info.entrypoint}")
    for name, value in (info.metadata or {}).items():
        print(f"metadata   {name}={value}")
    print(f"dashboard  {client.get_address()}/#/jobs/{job}", flush=True)


def _summary(info: Any) -> str:
    summary = f"{info.submission_id} {info.status}"
    if info.driver_exit_code is not None:
        return f"{summary}, exit code {info.driver_exit_code}"
    if info.status == "FAILED":
        return f"{summary}: {info.message}"
    return summary


@contextmanager
def _cluster(address: str) -> Iterator["JobSubmissionClient"]:
    """Connect to the cluster's job API, and turn its refusals into a ClusterError."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.INFO)  # Ray logs each file that it packs
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # it has precedence over the argument
    try:
        _check_reachable(address)
        yield JobSubmissionClient(address)
    except AuthenticationError as error:
        raise ClusterError(
            f"{address}: {error.message.partition(chr(10))[0].rstrip('. ')}. Set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file that holds the cluster's token (for a local one, what "
            "`python -m cluster.local status` prints)"
        ) from error
    except ConnectionError as error:
        raise ClusterError(
            f"{address}: no Ray dashboard answers; set RAY_API_SERVER_ADDRESS or --address to the dashboard's URL, "
            "or start a cluster with `python -m cluster.local up`"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"{address}: {_reason(str(error))}") from error


def _check_reachable(address: str) -> None:
    """Check that the host answers: Ray would wait for minutes."""
    url = urlsplit(address)
    try:
        if url.hostname and url.port and not getproxies():
            socket.create_connection((url.hostname, url.port), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:  # ValueError: a port that is no number
        raise ConnectionError(address) from error


def _reason(answer: str) -> str:
    """Return the last line of an answer, which may be a traceback of the server."""
    for line in reversed(answer.splitlines()):
        if line.strip(" ."):
            return line.strip()
    return answer


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        refuse_secrets(option, text)
        name, separator, value = text.partition("=")
        if not separator:
            raise ClusterError(f"{option}: must be NAME=VALUE, but got {text!r}")
        pairs[name] = value
    return pairs


def _parser() -> Parser:
    parser = Parser(
        prog="python -m cluster.submit",
        description="Run `python -m jobs.JOB ARGUMENTS` of this checkout on a Ray cluster.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", nargs="?", choices=JOBS, help="name of the job")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="arguments of the job")
    address = os.environ.get("RAY_API_SERVER_ADDRESS", ADDRESS)
    parser.add_argument("--address", default=address, help=f"URL of the dashboard; default {ADDRESS}")
    parser.add_argument("--follow", action="store_true", help="print the job's log until it ends, return its exit code")
    parser.add_argument("--status", metavar="ID", help="show a job")
    parser.add_argument("--stop", metavar="ID", help="stop a job: SIGTERM, and SIGKILL after --stop-wait")
    parser.add_argument("--submission-id", metavar="ID", help="id of the new job; must be unused")
    parser.add_argument("--metadata", metavar="NAME=VALUE", action="append", default=[], help="metadata of the job")
    parser.add_argument(
        "--env", metavar="NAME=VALUE", action="append", default=[], help="environment variable of the job; no secrets"
    )
    parser.add_argument("--install", action="store_true", help="let the nodes install the dependencies with pip first")
    parser.add_argument("--stop-wait", type=int, default=60, metavar="S", help="seconds before SIGKILL; default 60")
    return parser


if __name__ == "__main__":
    sys.exit(main(run))
