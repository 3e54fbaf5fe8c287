"""What a person sees of a training: TensorBoard under the specification's tags, and a warning when latents collapse."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger("hcvae.training")

SPECIFIED_TAGS = {
    "train_global_kl": "Hierarchical_Loss/global_kl_train",
    "train_local_kl": "Hierarchical_Loss/local_kl_train",
    "train_total_kl": "Hierarchical_Loss/total_kl_train",
    "global_variance": "Latent_Analysis/global_variance",
    "local_variance": "Latent_Analysis/local_variance",
}


def tag_of(metric: str) -> str:
    """The TensorBoard tag of a metric: the specification's where it has one, else by what it was measured on."""
    if metric in SPECIFIED_TAGS:
        return SPECIFIED_TAGS[metric]
    if metric in ("reconstruction_nmse", "disentanglement"):
        return f"Objectives/{metric}"
    return f"Train/{metric.removeprefix('train_')}" if metric.startswith("train_") else f"Validation/{metric}"


class Monitor:
    """Writes each epoch's metrics to TensorBoard and warns, once for each latent, when it is not used."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        """Events of epochs after `first_epoch`, left by an interrupted run, are hidden."""
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch + 1)
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one epoch."""
        for name, value in metrics.items():
            if name != "epoch":
                self._writer.add_scalar(tag_of(name), value, int(metrics["epoch"]))
        if metrics["phase"] == 3:
            self._warn_of_collapse(metrics)

    def _warn_of_collapse(self, metrics: Mapping[str, float]) -> None:
        for level in ("global", "local"):
            if metrics[f"{level}_active_units"] == 0 and level not in self._warned:
                self._warned.add(level)
                logger.warning(
                    "epoch %d: z_%s has collapsed: no active unit, variance of the means %.2g; "
                    "lower training.loss_weights.%s_kl (it acts like beta = %.3g)",
                    metrics["epoch"],
                    level,
                    metrics[f"{level}_variance"],
                    level,
                    metrics[f"{level}_beta"],
                )
