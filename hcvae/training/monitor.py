"""A training as seen while it runs: TensorBoard under the specification's tags, and a warning for each new trouble."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from hcvae.config import Config
from hcvae.training.checkpoint import EpochMetrics
from hcvae.training.diagnosis import diagnose, kl_balance
from hcvae.training.epoch import TrainingDiverged

logger = logging.getLogger("hcvae.training")

SPECIFIED_TAGS = {
    "train_global_kl": "Hierarchical_Loss/global_kl_train",
    "train_local_kl": "Hierarchical_Loss/local_kl_train",
    "train_total_kl": "Hierarchical_Loss/total_kl_train",
    "global_variance": "Latent_Analysis/global_variance",
    "local_variance": "Latent_Analysis/local_variance",
    "kl_balance": "Latent_Analysis/kl_balance",
}


def tag_of(metric: str) -> str:
    """Return the TensorBoard tag of a metric: the specification's if there is one, else one by part of the split."""
    if metric in SPECIFIED_TAGS:
        return SPECIFIED_TAGS[metric]
    if metric in ("reconstruction_nmse", "disentanglement"):
        return f"Objectives/{metric}"
    if metric.startswith("train_"):
        return f"Train/{metric.removeprefix('train_')}"
    return f"Validation/{metric}"


class Monitor:
    """Writes each epoch's metrics to TensorBoard, and warns of each trouble once, there and in the log.

    The training does not depend on TensorBoard: if its file cannot be written, such as on a full disk, training
    continues, and the next epoch starts another file.
    """

    def __init__(self, folder: Path, config: Config, history: Sequence[EpochMetrics] = ()) -> None:
        """`history`: the metrics of earlier epochs. Later events, left by an interrupted run, are hidden."""
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._config = config
        self._history = list(history)
        self._reported = {finding.trouble for finding in diagnose(config, history)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, TrainingDiverged):
            self._warn_of_new_troubles(diverged=True)
        if self._writer:
            self._write(SummaryWriter.close)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Record the metrics of one epoch."""
        self._write(partial(_add_scalars, metrics=metrics))
        self._history.append(metrics)
        self._warn_of_new_troubles()
        self._write(SummaryWriter.flush)  # otherwise its thread writes later, and prints a traceback if it cannot

    def _write(self, add: Callable[[SummaryWriter], object]) -> None:
        epoch = len(self._history) + 1
        if self._writer is not None and not self._folder.is_dir():
            logger.warning(
                "%s was deleted while the training runs: TensorBoard lacks the epochs before %d", self._folder, epoch
            )
            self._writer = None
        try:
            self._writer = self._writer or SummaryWriter(str(self._folder), purge_step=epoch)
            add(self._writer)
        except OSError as error:
            logger.warning("TensorBoard lacks some of epochs 1 to %d: %s", len(self._history) + 1, error)
            self._writer = None

    def _warn_of_new_troubles(self, diverged: bool = False) -> None:
        epoch = len(self._history) + diverged
        for finding in diagnose(self._config, self._history, diverged=diverged):
            if finding.trouble in self._reported:
                continue
            self._reported.add(finding.trouble)
            logger.warning("epoch %d: %s", epoch, finding)
            tag = f"Diagnosis/{finding.trouble}"
            text = f"{finding.evidence}\n\n{finding.remedy}"
            self._write(partial(SummaryWriter.add_text, tag=tag, text_string=text, global_step=epoch))


def _add_scalars(writer: SummaryWriter, metrics: EpochMetrics) -> None:
    for name, value in {**metrics, "kl_balance": kl_balance(metrics)}.items():
        if name != "epoch":
            writer.add_scalar(tag_of(name), value, int(metrics["epoch"]))
