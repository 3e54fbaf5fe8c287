"""Leases of trials: one process at a time owns a trial and trains it, and renews its lease every few seconds.

Another process adopts a trial when its owner has released it, is gone, or has let the lease expire. Owners change only
under the study's lock, see `tune.study.database`. Each time a trial is handed out is an attempt, with a folder of its
own: a training that an earlier owner left running writes into an earlier folder.

No process compares its clock with another's, or relies on a clock that can be set: a lease has expired when this
process has seen it unchanged for `EXPIRY_S` seconds of its own monotonic clock.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError

from hcvae.config import Section
from hcvae.storage import StoragePath
from tune.internals.optuna_internals import recorded, set_trial_system_attribute, system_attributes, trial_key
from tune.objectives import Point
from tune.study.database import Database
from tune.study.transaction import transaction

HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
"""Time after which a lease that is not renewed has expired."""
LEASE = "claim"
"""System attribute of a trial; its name is that of earlier versions."""
STUDY_ID = "created"
"""System attribute of a study: its identifier, the time at which its folder's `study.json` was created."""
COPIED_STUDY_ID = "hcvae_study"
"""User attribute with the same content: copies of a study made by other programs keep only this one."""
OUTSIDE_BUDGET = "outside_budget"
"""User attribute of trials that were not trained here: the reason why they are neither counted nor on the front."""


class Owner(Section):
    """A process that searches."""

    host: str
    """Name of the machine, and the namespace in which process ids count."""
    process: int
    started: int
    """Start of the process, in clock ticks since its machine's."""
    identity: str
    """Identifier of one search in that process."""

    @classmethod
    def myself(cls) -> "Owner":
        """Return a new owner: this process."""
        return cls(host=_host(), process=os.getpid(), started=_start_of(os.getpid()) or 0, identity=uuid.uuid4().hex)

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and has ended."""
        return self.host == _host() and _start_of(self.process) != self.started


class Lease(Section):
    """A trial's latest owner, as the study records it."""

    attempt: int = 0
    """How often the trial has been handed out, and so the number of its latest folder; 0: never, another program made
    the trial."""
    owner: Owner | None = None
    """The process that trains it; None: no process does."""
    heartbeat: float = 0
    """Time of the latest renewal, in seconds by the database's clock; only whether it changes matters."""
    study: str | None = None
    """Identifier of the study that handed it out; null: an earlier version handed it out."""
    trial: str | None = None
    """Unique identifier of the trial, see `tune.study.trial_identity`; null: an earlier version handed it out."""
    values: Point | None = None
    """Objectives that its training reported at the end."""


@dataclass
class _Watch:
    """How long a lease has been seen unchanged."""

    heartbeat: float
    looked: float
    silence_s: float = 0.0


class Leases:
    """The leases of this process in a study. Use them under the study's lock; a `FrozenTrial` that is passed must have
    been read under the same lock.

    Args:
        study: the study.
        alone: no other process can search in it, so that every other owner is gone.
    """

    def __init__(self, study: optuna.Study, alone: bool = False) -> None:
        self.me = Owner.myself()
        self.study = study
        self._alone = alone
        self._study_id = study_id(study)
        self._watched: dict[int, _Watch] = {}
        self._acquired: set[int] = set()  # keys of trials

    def acquire(self, trial: FrozenTrial | Trial, now: float, *, adopted: bool, attempts: int = 0) -> Lease:
        """Own a trial for a new attempt.

        Args:
            trial: a new trial, or an interrupted one.
            now: the time by the database's clock.
            adopted: it was handed out before; a lease in a trial that was not is a copy of another trial's.
            attempts: the highest number of an attempt in the trial's folder.
        """
        before = Lease()
        if adopted:
            before = self._latest(trial)
        self._acquired.add(trial_key(trial))
        lease = Lease(
            attempt=max(before.attempt, attempts) + 1,
            owner=self.me,
            heartbeat=now,
            study=self._study_id,
            trial=before.trial or uuid.uuid4().hex,
        )
        self._write(trial, lease)
        return lease

    def holds(self, trial: FrozenTrial | Trial) -> bool:
        """Return whether this process still owns `trial`, or has ended it."""
        return lease_of(self._fresh(trial)).owner == self.me

    def release(self, trial: FrozenTrial | Trial) -> None:
        """Give up a running trial that is owned: the next process that looks continues it."""
        self._write(trial, lease_of(self._fresh(trial)).model_copy(update={"owner": None}))

    def record_values(self, trial: FrozenTrial | Trial, values: Point) -> None:
        """Record the objectives that the training of a running, owned trial reported."""
        self._write(trial, lease_of(self._fresh(trial)).model_copy(update={"values": values}))

    def renew(self, trial: FrozenTrial | Trial, now: float) -> bool:
        """Renew the lease of a trial; return whether this process still owns it, and nobody has ended it."""
        try:
            frozen = self._fresh(trial)
            if frozen.state != TrialState.RUNNING or lease_of(frozen).owner != self.me:
                return False
            self._write(trial, lease_of(frozen).model_copy(update={"heartbeat": now}))
        except (KeyError, UpdateFinishedTrialError):  # another program has removed the study, or ended the trial
            return False
        return True

    def reclaimable(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of `trials` that are recorded as running, were handed out, and have no live owner."""
        return [trial for trial in trials if in_training(trial) and self._is_abandoned(trial)]

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        owner = lease_of(trial).owner
        if owner is None or (owner == self.me and trial_key(trial) not in self._acquired):  # a copy of one that it runs
            return True
        return owner != self.me and (self._alone or owner.is_gone or self._is_expired(trial))

    def _latest(self, trial: FrozenTrial | Trial) -> Lease:
        """Return the latest lease of a trial, without a unique identifier that was copied from another trial."""
        lease = lease_of(self._fresh(trial))
        if lease.trial and self._is_copy(trial, lease.trial):
            return lease.model_copy(update={"trial": None})
        return lease

    def _is_copy(self, trial: FrozenTrial | Trial, identity: str) -> bool:
        key = trial_key(trial)
        others = self.study.get_trials(deepcopy=False)
        return any(trial_key(other) != key and lease_of(other).trial == identity for other in others)

    def _is_expired(self, trial: FrozenTrial) -> bool:
        """Return whether a lease has expired. Each look adds a heartbeat's time at most: this machine may have been
        asleep since the last one."""
        heartbeat = lease_of(trial).heartbeat
        now = time.monotonic()
        watch = self._watched.get(trial_key(trial))
        if watch is None or watch.heartbeat != heartbeat:
            self._watched[trial_key(trial)] = _Watch(heartbeat, now)
            return False
        watch.silence_s += min(now - watch.looked, HEARTBEAT_S)
        watch.looked = now
        return watch.silence_s >= EXPIRY_S

    def _fresh(self, trial: FrozenTrial | Trial) -> FrozenTrial:
        return trial if isinstance(trial, FrozenTrial) else recorded(self.study, trial)

    def _write(self, trial: FrozenTrial | Trial, lease: Lease) -> None:
        set_trial_system_attribute(self.study, trial, LEASE, lease.model_dump())


def lease_of(trial: FrozenTrial) -> Lease:
    """Return the latest lease of a trial."""
    content: dict[str, Any] = trial.system_attrs.get(LEASE, {})
    return Lease.model_validate(content)


def study_id(study: optuna.Study) -> str | None:
    """Return the identifier of a study; None: this program has not created it."""
    system = system_attributes(study)
    found: str | None = system.get(STUDY_ID) or study.user_attrs.get(COPIED_STUDY_ID)
    return found


def outside_budget(trial: FrozenTrial, study: str | None) -> str | None:
    """Return why `trial` does not count against the budget of the study with the identifier `study`; None: it does."""
    reason = trial.user_attrs.get(OUTSIDE_BUDGET)
    if reason is not None:
        return str(reason)
    lease = lease_of(trial)
    if lease.study is not None and lease.study != study:
        return "copied from another study"
    if lease.study is None and lease.attempt == 0 and trial.state.is_finished():
        return "another program added or ended it before it was trained here"
    return None


def in_training(trial: FrozenTrial) -> bool:
    """Return whether `trial` is running and was handed out by this program; other programs run their own trials."""
    return trial.state == TrialState.RUNNING and lease_of(trial).attempt > 0


@contextmanager
def heartbeats(
    database: Database, leases: Leases, owned: Callable[[], list[Trial]], ended: Callable[[Trial], object]
) -> Iterator[None]:
    """Renew the leases of the `owned` trials, in a thread; release them at the end.

    `ended` is called for an owned trial that another program has ended, or another process adopted, as often as it is
    found.
    """
    over = threading.Event()

    def renew_all() -> None:
        while not over.wait(HEARTBEAT_S):
            gone = []
            # The next renewal may succeed. An error rolls back the other renewals, but `gone` stays.
            with suppress(StorageInternalError, DBAPIError), database.locked() as now, transaction(leases.study):
                for trial in owned():
                    if not leases.renew(trial, now):
                        gone.append(trial)
            for trial in gone:
                ended(trial)

    thread = threading.Thread(target=renew_all, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(StorageInternalError, DBAPIError), database.locked():
            for trial in owned():
                with suppress(KeyError, UpdateFinishedTrialError):  # as in `Leases.renew`
                    if leases.holds(trial):
                        leases.release(trial)


def own_folder(parent: StoragePath, me: Owner) -> StoragePath:
    """Make a folder of this owner below `parent`, and remove those of owners that are gone."""
    for name in parent.listdir():
        owner = parent / name / "owner.json"
        if owner.is_file() and Owner.model_validate_json(owner.read_text()).is_gone:
            (parent / name).remove()
    folder = parent / me.identity
    (folder / "owner.json").write(me.model_dump_json().encode())
    return folder


def _host() -> str:
    return f"{socket.gethostname()} {Path('/proc/self/ns/pid').stat().st_ino}"


def _start_of(process: int) -> int | None:
    """Return the start of a process in clock ticks since the machine's; None where it has ended, see proc(5)."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state = after_name[0]
    start = after_name[19]
    if state in "ZX":
        return None
    return int(start)
