"""Who runs a trial: one process at a time, which renews its claim every few seconds.

Another process adopts a trial when its owner has released it, is gone, or has not renewed the claim for a while. All
that changes an owner is done under the study's lock, see `tune.study.database`. Each time a trial is handed out is an
attempt, with a folder of its own: what an earlier owner left running writes into an earlier folder.

No process compares its clock with another's, and none compares a clock that can be set: a claim has expired when this
process has looked at it again and again for `EXPIRY_S` seconds of its monotonic clock and found it unchanged.
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
from tune.pareto import Point
from tune.study.database import Database
from tune.study.transaction import transaction

HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
"""A claim that has not been renewed for so long has expired."""
CLAIM = "claim"
"""System attribute of a trial."""
STUDY_ID = "created"
"""System attribute of a study: its identifier, the time at which its folder's `study.json` was begun."""
COPIED_STUDY_ID = "hcvae_study"
"""User attribute with the same content: copies of a study made by other programs keep only this one."""
OUTSIDE_BUDGET = "outside_budget"
"""User attribute of trials that were not trained here: why they are neither counted nor on the Pareto front."""


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
    def is_gone(self) -> bool:
        """Whether it ran on this machine and runs no more."""
        return self.host == _host() and _start_of(self.process) != self.started


class Lease(Section):
    """What a study records of a trial that this program has handed out."""

    attempt: int = 0
    """How often the trial has been handed out; its latest folder. 0: never, another program made the trial."""
    owner: Owner | None = None
    """None: nobody runs it."""
    heartbeat: float = 0
    """Time of the latest renewal, in seconds by the database's clock; only whether it changes matters."""
    study: str | None = None
    """Identifier of the study that handed it out; null: an earlier version did."""
    trial: str | None = None
    """Unique identifier of the trial, see `tune.study.trial_identity`; null: an earlier version handed it out."""
    values: Point | None = None
    """Objectives that its training reported at its end."""


@dataclass
class _Watch:
    """How long a claim has been seen unchanged."""

    heartbeat: float
    looked: float
    silence_s: float = 0.0


class Leases:
    """The trials of a study that this process owns. To be used under the study's lock; a `FrozenTrial` was read under
    the same one.

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
        self._taken: set[int] = set()

    def acquire(self, trial: FrozenTrial | Trial, now: float, *, adopted: bool, attempts: int = 0) -> Lease:
        """Own a trial for a new attempt.

        Args:
            trial: a new trial, or an interrupted one.
            now: the time by the database's clock.
            adopted: it was handed out before; otherwise a claim in it was copied from another trial.
            attempts: the highest number of an attempt in the trial's folder.
        """
        before = lease_of(self._fresh(trial)) if adopted else Lease()
        if before.trial and self._is_copy(trial, before.trial):
            before = before.model_copy(update={"trial": None})
        self._taken.add(trial_key(trial))
        claim = Lease(
            attempt=max(before.attempt, attempts) + 1,
            owner=self.me,
            heartbeat=now,
            study=self._study_id,
            trial=before.trial or uuid.uuid4().hex,
        )
        self._write(trial, claim)
        return claim

    def holds(self, trial: FrozenTrial | Trial) -> bool:
        """Whether this process still owns it, or has ended it."""
        return lease_of(self._fresh(trial)).owner == self.me

    def release(self, trial: FrozenTrial | Trial) -> None:
        """Give up a running trial that is owned: the next process to look goes on with it."""
        self._write(trial, lease_of(self._fresh(trial)).model_copy(update={"owner": None}))

    def record_values(self, trial: FrozenTrial | Trial, values: Point) -> None:
        """Record the objectives that the training of a running, owned trial reported."""
        self._write(trial, lease_of(self._fresh(trial)).model_copy(update={"values": values}))

    def renew(self, trial: FrozenTrial | Trial, now: float) -> bool:
        """Renew the claim to a trial; whether this process still owns it, and nobody has ended it."""
        try:
            frozen = self._fresh(trial)
            if frozen.state != TrialState.RUNNING or lease_of(frozen).owner != self.me:
                return False
            self._write(trial, lease_of(frozen).model_copy(update={"heartbeat": now}))
        except (KeyError, UpdateFinishedTrialError):  # another program has removed the study, or ended the trial
            return False
        return True

    def reclaimable(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Those of `trials` that this program has handed out, that are running, and that nobody runs any more."""
        return [trial for trial in trials if in_training(trial) and self._is_abandoned(trial)]

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        owner = lease_of(trial).owner
        if owner is None or (owner == self.me and trial_key(trial) not in self._taken):  # a copy of one that it runs
            return True
        return owner != self.me and (self._alone or owner.is_gone or self._is_expired(trial))

    def _is_copy(self, trial: FrozenTrial | Trial, identity: str) -> bool:
        others = self.study.get_trials(deepcopy=False)
        return any(lease_of(other).trial == identity for other in others if trial_key(other) != trial_key(trial))

    def _is_expired(self, trial: FrozenTrial) -> bool:
        """Each look adds a heartbeat's time at most: a machine that was asleep has not heard anybody meanwhile."""
        heartbeat, now = lease_of(trial).heartbeat, time.monotonic()
        watch = self._watched.get(trial_key(trial))
        if watch is None or watch.heartbeat != heartbeat:
            self._watched[trial_key(trial)] = _Watch(heartbeat, now)
            return False
        watch.silence_s += min(now - watch.looked, HEARTBEAT_S)
        watch.looked = now
        return watch.silence_s >= EXPIRY_S

    def _fresh(self, trial: FrozenTrial | Trial) -> FrozenTrial:
        return trial if isinstance(trial, FrozenTrial) else recorded(self.study, trial)

    def _write(self, trial: FrozenTrial | Trial, claim: Lease) -> None:
        set_trial_system_attribute(self.study, trial, CLAIM, claim.model_dump())


def lease_of(trial: FrozenTrial) -> Lease:
    """The latest claim to a trial."""
    content: dict[str, Any] = trial.system_attrs.get(CLAIM, {})
    return Lease.model_validate(content)


def study_id(study: optuna.Study) -> str | None:
    """The identifier of a study; None: this program has not begun it."""
    system = system_attributes(study)
    found: str | None = system.get(STUDY_ID) or study.user_attrs.get(COPIED_STUDY_ID)
    return found


def outside_budget(trial: FrozenTrial, study: str | None) -> str | None:
    """Why `trial` does not count against the budget of the study with the identifier `study`; None: it does."""
    recorded = trial.user_attrs.get(OUTSIDE_BUDGET)
    if recorded is not None:
        return str(recorded)
    claim = lease_of(trial)
    if claim.study is not None and claim.study != study:
        return "copied from another study"
    if claim.study is None and claim.attempt == 0 and trial.state.is_finished():
        return "another program added or ended it before it was trained here"
    return None


def in_training(trial: FrozenTrial) -> bool:
    """Whether a trial is running that this program has handed out; what other programs ask for is theirs."""
    return trial.state == TrialState.RUNNING and lease_of(trial).attempt > 0


@contextmanager
def heartbeats(
    database: Database, leases: Leases, owned: Callable[[], list[Trial]], ended: Callable[[Trial], object]
) -> Iterator[None]:
    """Renew the claims to the `owned` trials, in a thread; in the end they are released.

    `ended` is called for an owned trial that another program has ended, or adopted, as often as it is found.
    """
    over = threading.Event()

    def renew_all() -> None:
        while not over.wait(HEARTBEAT_S):
            gone = []
            # The next renewal may come through. One refusal rolls back the others, but not what was found.
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
    """A folder of this owner below `parent`; those of owners that are gone are removed."""
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
    """Start of a process in clock ticks since the machine's; None where it has ended, see proc(5)."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = after_name[0], after_name[19]
    return None if state in "ZX" else int(start)
