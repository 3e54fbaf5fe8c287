"""Who runs a trial: one process at a time, which says every few seconds that it lives.

Another process adopts a trial when its owner has given it up, is gone, or has been silent. All that changes an owner is
done under the study's lock, see `tune.database`. Each time a trial is handed out is an attempt, with a folder of its
own: what an earlier owner left running writes into an earlier folder.
"""

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError

from hcvae.config import Section
from hcvae.storage import Place
from tune.database import Database
from tune.transaction import transaction

HEARTBEAT_S = 10.0
SILENCE_S = 60.0
"""After so long without a heartbeat an owner has lost its trials."""
CLAIM = "claim"
"""System attribute of a trial."""


class Owner(Section):
    """A process that searches."""

    host: str
    """Name of the machine, and the namespace in which process ids count."""
    process: int
    started: int
    """Start of the process, in clock ticks since its machine's."""
    identity: str
    """Of one search in that process."""

    @classmethod
    def myself(cls) -> "Owner":
        """A new owner: this process."""
        return cls(host=_host(), process=os.getpid(), started=_start_of(os.getpid()) or 0, identity=uuid.uuid4().hex)

    @property
    def gone(self) -> bool:
        """Whether it ran on this machine and runs no more."""
        return self.host == _host() and _start_of(self.process) != self.started


class Claim(Section):
    """What a study says of the owner of a trial."""

    attempt: int = 0
    """How often the trial has been handed out; its latest folder."""
    owner: Owner | None = None
    """None: nobody runs it."""
    heartbeat: float = 0
    """When its owner was last heard of, in seconds by the database's clock."""

    def free(self, now: float) -> bool:
        """Whether another process may adopt the trial."""
        return self.owner is None or self.owner.gone or abs(now - self.heartbeat) > SILENCE_S


class Ownership:
    """The trials of a study that this process owns. To be used under the study's lock; a `FrozenTrial` was read under
    the same one."""

    def __init__(self, study: optuna.Study) -> None:
        self.me = Owner.myself()
        self.study = study

    def take(self, trial: FrozenTrial | Trial, now: float) -> int:
        """Own a trial; the number of this attempt, from 1."""
        claim = Claim(attempt=claim_of(self._fresh(trial)).attempt + 1, owner=self.me, heartbeat=now)
        self._write(trial, claim)
        return claim.attempt

    def holds(self, trial: FrozenTrial | Trial) -> bool:
        """Whether this process still owns it, or has ended it."""
        return claim_of(self._fresh(trial)).owner == self.me

    def release(self, trial: FrozenTrial | Trial) -> None:
        """Give up a running trial that is owned: the next one to look goes on with it."""
        self._write(trial, claim_of(self._fresh(trial)).model_copy(update={"owner": None}))

    def beat(self, trial: FrozenTrial | Trial, now: float) -> None:
        """Say that the owner of a trial lives, where it still is the owner."""
        frozen = self._fresh(trial)
        if frozen.state == TrialState.RUNNING and claim_of(frozen).owner == self.me:
            self._write(trial, claim_of(frozen).model_copy(update={"heartbeat": now}))

    def _fresh(self, trial: FrozenTrial | Trial) -> FrozenTrial:
        return trial if isinstance(trial, FrozenTrial) else self.study._storage.get_trial(trial._trial_id)

    def _write(self, trial: FrozenTrial | Trial, claim: Claim) -> None:
        self.study._storage.set_trial_system_attr(trial._trial_id, CLAIM, claim.model_dump())


def claim_of(trial: FrozenTrial) -> Claim:
    """The latest claim to a trial."""
    content: dict[str, Any] = trial.system_attrs.get(CLAIM, {})
    return Claim.model_validate(content)


def adoptable(trials: Iterable[FrozenTrial], now: float) -> list[FrozenTrial]:
    """Those of `trials` that are running, and that nobody runs any more."""
    return [trial for trial in trials if trial.state == TrialState.RUNNING and claim_of(trial).free(now)]


@contextmanager
def heartbeats(database: Database, ownership: Ownership, owned: Callable[[], list[Trial]]) -> Iterator[None]:
    """Beat for the `owned` trials, in a thread; in the end they are released."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                with database.locked() as now, transaction(ownership.study):
                    for trial in owned():
                        ownership.beat(trial, now)
            except (StorageInternalError, DBAPIError):
                continue  # the next beat may come through

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(StorageInternalError, DBAPIError), database.locked():
            for trial in owned():
                if ownership.holds(trial):
                    ownership.release(trial)


def own_folder(parent: Place, me: Owner) -> Place:
    """A folder of this owner below `parent`; those of owners that are gone are removed."""
    for name in parent.names():
        owner = parent / name / "owner.json"
        if owner.is_file() and Owner.model_validate_json(owner.read_text()).gone:
            (parent / name).remove()
    folder = parent / me.identity
    (folder / "owner.json").write(me.model_dump_json().encode())
    return folder


def _host() -> str:
    return f"{socket.gethostname()} {Path('/proc/self/ns/pid').stat().st_ino}"


def _start_of(process: int) -> int | None:
    """Start of a process in clock ticks since the machine's; None where it has ended, see proc(5)."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = after_name[0], after_name[19]
    return None if state in "ZX" else int(start)
