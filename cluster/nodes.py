"""The processes of a Ray node on this machine: started in a session of their own, ended by process id."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CLOCK_S = 2
"""Tolerance of start times: they depend on the boot time, which moves when the clock is set."""
STOP_S = 15
"""Time in which a node must end before it is killed."""


@dataclass(frozen=True)
class Node:
    """A `ray start --block` process, the leader of the session of all its processes."""

    pid: int
    started: float
    """Seconds since 1970."""

    @classmethod
    def start(cls, options: Sequence[str], environment: Mapping[str, str], log: Path) -> "Node":
        """Start `ray start OPTIONS`; it outlives this process."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(process.pid, psutil.Process(process.pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether this very process runs, and not another one with its id."""
        return any(process.pid == self.pid for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return all live processes that it has started: its session, and jobs, which have sessions of their own."""
        session = [process for process in psutil.process_iter() if self._leads(process)]
        started = set(session)
        for process in session:
            started.update(_children(process))
        return [process for process in started if _runs(process)]

    def stop(self) -> None:
        """End it as `ray stop` does, and kill the processes that are left."""
        left = self.processes()
        for process in left:
            if process.pid == self.pid:
                _send(process, signal.SIGTERM)
        psutil.wait_procs(left, timeout=STOP_S)
        self.kill()

    def kill(self) -> None:
        """Kill it with all its processes, as a power failure would."""
        while left := self.processes():
            for process in left:
                _send(process, signal.SIGKILL)
            psutil.wait_procs(left, timeout=STOP_S)

    def _leads(self, process: psutil.Process) -> bool:
        try:
            if process.pid == self.pid:
                return bool(abs(process.create_time() - self.started) < CLOCK_S)
            return os.getsid(process.pid) == self.pid and bool(process.create_time() > self.started - CLOCK_S)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
