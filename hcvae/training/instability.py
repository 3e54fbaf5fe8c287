"""Signs that a training is, or was, unstable, from the metrics of its epochs (NaN where one was not finite)."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hcvae.training.schedule import Phase

WORSE_THAN_MEAN = 2.0
"""Mean squared error of the training waveforms, which have variance 1: predicting their mean gives 1. Only new weights,
in the first epoch, may do worse than twice that."""
WINDOW, MIN_WINDOW = 5, 3
"""Epochs before a loss that it is compared with, all in the last phase: before it the loss's own weights change."""
SPIKE_DEVIATIONS, SPIKE_FACTOR = 6.0, 2.0
"""A spike lies above the median of its window by so many robust standard deviations (6: not by chance), and above so
many times the median: deviations are tiny on a smooth curve, and a ripple is no spike."""
NORMAL_DEVIATION = 0.6745
"""Median absolute deviation of a standard normal variable."""
LATE_EPOCHS, RISEN_FACTOR = 3, 2.0
"""The validation loss has come apart where the median of the last epochs is so many times its lowest value:
overfitting, and the noise of a small validation part, stay below."""
MEASURED = ("train_loss", "validation_loss", "reconstruction_nmse", "disentanglement")
LOSSES = ("train_loss", "validation_loss")
ERRORS = ("train_reconstruction", "reconstruction_nmse")
"""What is compared in place of the losses where scales are learned: log-likelihoods fall below 0, and know no twice."""


def signs_of_instability(
    epochs: Sequence[Mapping[str, float]], diverged: bool, learned_scales: bool = False
) -> list[str]:
    """Each sign in a few words with its numbers. Gradients that are clipped are none."""
    compared = ERRORS if learned_scales else LOSSES
    last_phase = [epoch for epoch in epochs if epoch["phase"] == Phase.BALANCED]
    signs = [*_not_finite(epochs), *_worse_than_the_mean(epochs)]
    for name in compared:
        signs += _spike(last_phase, name)
    signs += _come_apart(last_phase, compared[1])
    if diverged:
        signs.append(f"a loss or the gradient was not finite after epoch {epochs[-1]['epoch'] if epochs else 0:.0f}")
    return signs


def _not_finite(epochs: Sequence[Mapping[str, float]]) -> Iterator[str]:
    for epoch in epochs:
        names = [name for name in MEASURED if not math.isfinite(epoch.get(name, 0.0))]  # not all data give all of them
        if names:
            yield f"{', '.join(names)} not finite in epoch {epoch['epoch']:.0f}"
            return


def _worse_than_the_mean(epochs: Sequence[Mapping[str, float]]) -> Iterator[str]:
    later = [epoch for epoch in epochs[1:] if epoch["train_reconstruction"] > WORSE_THAN_MEAN]
    if later:
        worst = max(later, key=lambda epoch: epoch["train_reconstruction"])
        yield (
            f"reconstruction error of the training waveforms above {WORSE_THAN_MEAN:g} in {len(later)} of "
            f"{len(epochs)} epochs, {worst['train_reconstruction']:.3g} in epoch {worst['epoch']:.0f} "
            "(predicting the mean gives 1)"
        )


def _spike(last_phase: Sequence[Mapping[str, float]], name: str) -> Iterator[str]:
    losses = np.array([epoch[name] for epoch in last_phase])
    for index in range(MIN_WINDOW, len(losses)):
        window = losses[max(0, index - WINDOW) : index]
        median = float(np.median(window))
        # As scipy.stats.median_abs_deviation(scale="normal"), whose import takes each training half a second.
        deviation = float(np.median(np.abs(window - median))) / NORMAL_DEVIATION
        if losses[index] > max(median + SPIKE_DEVIATIONS * deviation, SPIKE_FACTOR * median):
            epoch = last_phase[index]["epoch"]
            yield f"{name} jumped to {losses[index]:.3g} in epoch {epoch:.0f}, from a median of {median:.3g} before it"
            return


def _come_apart(last_phase: Sequence[Mapping[str, float]], name: str) -> Iterator[str]:
    losses = np.array([epoch[name] for epoch in last_phase])
    if len(losses) <= LATE_EPOCHS or not np.isfinite(losses).all():
        return
    late, lowest = float(np.median(losses[-LATE_EPOCHS:])), int(np.argmin(losses))
    if late > RISEN_FACTOR * losses[lowest]:
        yield (
            f"{name} rose to {late:.3g} (median of the last {LATE_EPOCHS} epochs) from "
            f"{losses[lowest]:.3g} in epoch {last_phase[lowest]['epoch']:.0f}"
        )
