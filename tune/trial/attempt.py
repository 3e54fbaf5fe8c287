"""One attempt at a training: its working folder, and the folder in which its results are kept.

On a disk that all nodes share both are one folder. With an object store each worker works in a folder of its own node,
and the first worker copies every checkpoint, and at the end the bundle, to the store.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError
from hcvae.retrying import retry
from hcvae.storage import StoragePath
from hcvae.training import take_over, train_bundle
from hcvae.training.loop import CHECKPOINTS, TENSORBOARD
from hcvae.training.workers import Workers
from tune.constraints import Constraints
from tune.early_stopping.actor import Listener
from tune.objectives import SPECIFIED, Objectives
from tune.study.folder import FIGURES
from tune.study.outcome import Ending, Outcome
from tune.study.trial_identity import TrialIdentity
from tune.trial.figures import illustrate
from tune.trial.outcome import outcome_of

PARTS = ("bundle", FIGURES)
"""Folders of results besides checkpoints and events."""


@dataclass(frozen=True)
class Attempt:
    """An attempt at a training, and the earlier attempts whose checkpoints it may continue from."""

    place: StoragePath
    earlier: tuple[StoragePath, ...] = ()
    identity: TrialIdentity | None = None
    """Identity of the trial; None: this is no trial of a study."""
    events: StoragePath | None = None
    """Folder of its TensorBoard events, whose name TensorBoard shows; None: in `place`."""
    objectives: Objectives = SPECIFIED
    """What the outcome reports."""
    constraints: Constraints = ()
    """Bounds of which the outcome reports the violations."""

    def train(self, config: Config, data: Dataset, listener: Listener) -> Outcome:
        """Train, from the newest checkpoint where there is one, keep the results, and return the outcome.

        Every data-parallel worker calls this, with `torch.distributed` initialised.

        Raises:
            UserError, TrainingDiverged, StorageError: as `hcvae.training.fit`.
        """
        workers = Workers.current()
        with self._workspace() as folder:
            self._begin(config, data, folder, workers)
            try:
                keep = partial(self._keep, folder)
                events = folder / TENSORBOARD
                if self.place.is_local:
                    events = self._kept_events.path
                result = train_bundle(config, data, folder, listener, keep, listener.on_precision, events)
                outcome = outcome_of(result, self.objectives, self.constraints, listener.stop)
                if not workers.is_rank_0:
                    return outcome
                if self.identity is not None and outcome.state == Ending.COMPLETE:
                    identified = self.identity.model_copy(update={"values": outcome.values})
                    identified.write(StoragePath.of(folder / "bundle"))
                return illustrate(outcome, data.validation, folder)
            finally:
                if workers.is_rank_0:
                    self._keep(folder)

    @property
    def _kept_events(self) -> StoragePath:
        return self.events or self.place / TENSORBOARD

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        if self.place.is_local:
            yield self.place.path
            return
        with tempfile.TemporaryDirectory(prefix="hcvae-attempt-") as folder:
            yield Path(folder)

    def _begin(self, config: Config, data: Dataset, folder: Path, workers: Workers) -> None:
        # An earlier attempt may still be writing: the first worker chooses its checkpoint for all.
        if workers.is_rank_0:
            if self.identity is not None:
                self.identity.write(self.place)
            sources = self.earlier
            if not self.place.is_local:
                sources = (self.place, *self.earlier)
            taken = take_over(config, data, folder, sources, workers.size)
            if taken is not None:
                self._keep(folder, taken)
            elif not self.place.is_local and (self.place / CHECKPOINTS).listdir():
                raise UserError(f"{self.place} holds another training, or a damaged one; use an empty folder")
        workers.share(None)
        if not workers.is_rank_0 and not self.place.is_local:
            take_over(config, data, folder, (self.place,), workers.size)

    def _keep(self, folder: Path, checkpoint: Path | None = None) -> None:
        """Copy new results from `folder` to where they are kept; then remove older checkpoints."""
        if not self.place.is_local:
            retry(lambda: self._copy(folder, checkpoint), f"cannot write {self.place}")

    def _copy(self, folder: Path, checkpoint: Path | None) -> None:
        for part in PARTS:
            if (folder / part).is_dir():
                (self.place / part).upload(folder / part)
        if (folder / TENSORBOARD).is_dir():
            self._kept_events.upload(folder / TENSORBOARD)
        if checkpoint is not None:
            kept = self.place / checkpoint.parent.name
            (kept / checkpoint.name).upload(checkpoint)
            for name in kept.listdir():
                if name != checkpoint.name:
                    (kept / name).remove()
