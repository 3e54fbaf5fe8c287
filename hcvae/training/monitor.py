"""What a person sees of a training: TensorBoard under the specification's tags, and each trouble when it appears."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from hcvae.config import Config
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
    """The TensorBoard tag of a metric: the specification's where it has one, else by what it was measured on."""
    if metric in SPECIFIED_TAGS:
        return SPECIFIED_TAGS[metric]
    if metric in ("reconstruction_nmse", "disentanglement"):
        return f"Objectives/{metric}"
    return f"Train/{metric.removeprefix('train_')}" if metric.startswith("train_") else f"Validation/{metric}"


class Monitor:
    """Writes each epoch's metrics to TensorBoard, and warns of each trouble once, there and in the log.

    TensorBoard is for looking only: where it cannot be written, such as on a full disk, the training goes on, and the
    next epoch begins another file.
    """

    def __init__(self, folder: Path, config: Config, history: Sequence[Mapping[str, float]] = ()) -> None:
        """`history` are the metrics of the epochs before: events after them, left by an interrupted run, are hidden."""
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._config = config
        self._history = list(history)
        self._told = {finding.trouble for finding in diagnose(config, history)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, TrainingDiverged):
            self._tell_troubles(diverged=True)
        if self._writer:
            self._show(SummaryWriter.close)

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one epoch."""
        self._show(partial(_add_scalars, metrics=metrics))
        self._history.append(metrics)
        self._tell_troubles()

    def _show(self, add: Callable[[SummaryWriter], object]) -> None:
        try:
            self._writer = self._writer or SummaryWriter(str(self._folder), purge_step=len(self._history) + 1)
            add(self._writer)
        except OSError as error:
            logger.warning("TensorBoard lacks some of epochs 1 to %d: %s", len(self._history) + 1, error)
            self._writer = None

    def _tell_troubles(self, diverged: bool = False) -> None:
        epoch = len(self._history) + diverged
        for finding in diagnose(self._config, self._history, diverged=diverged):
            if finding.trouble not in self._told:
                self._told.add(finding.trouble)
                logger.warning("epoch %d: %s", epoch, finding)
                tag, text = f"Diagnosis/{finding.trouble}", f"{finding.evidence}\n\n{finding.remedy}"
                self._show(partial(SummaryWriter.add_text, tag=tag, text_string=text, global_step=epoch))


def _add_scalars(writer: SummaryWriter, metrics: Mapping[str, float]) -> None:
    for name, value in {**metrics, "kl_balance": kl_balance(metrics)}.items():
        if name != "epoch":
            writer.add_scalar(tag_of(name), value, int(metrics["epoch"]))
