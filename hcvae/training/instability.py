"""Signs of an unstable training in the metrics of its epochs, which have NaN where a number was not finite."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hcvae.training.checkpoint import EpochMetrics
from hcvae.training.schedule import Phase

WORSE_THAN_MEAN = 2.0
"""Largest mean squared error of the training waveforms after the first epoch. Their variance is 1, so that predicting
their mean gives 1."""
WINDOW = 5
MIN_WINDOW = 3
"""Epochs of the last phase with which the next one is compared; in earlier phases the weights of the loss change."""
SPIKE_DEVIATIONS = 6.0
"""Robust standard deviations above the median of its window from which a loss is a spike: 6 do not occur by chance."""
SPIKE_FACTOR = 2.0
"""Times the median that a spike also exceeds: on a smooth curve a ripple is many deviations high."""
NORMAL_DEVIATION = 0.6745
"""Median absolute deviation of a standard normal variable."""
LATE_EPOCHS = 3
RISEN_FACTOR = 2.0
"""The validation loss has risen where the median of the last epochs exceeds this multiple of its lowest value.
Overfitting, and the noise of a small validation part, stay below."""
MEASURED = ("train_loss", "validation_loss", "reconstruction_nmse", "disentanglement")
LOSSES = ("train_loss", "validation_loss")
ERRORS = ("train_reconstruction", "reconstruction_nmse")
"""Compared instead of the losses where scales are learned: log-likelihoods may be negative, so ratios mean nothing."""


def signs_of_instability(epochs: Sequence[EpochMetrics], diverged: bool, learned_scales: bool = False) -> list[str]:
    """Return each sign in a few words with its numbers. Clipped gradients are not one."""
    compared = ERRORS if learned_scales else LOSSES
    last_phase = in_last_phase(epochs)
    signs = [*_not_finite(epochs), *_worse_than_the_mean(epochs)]
    for name in compared:
        signs += _spike(last_phase, name)
    signs += _risen(last_phase, compared[1])
    if diverged:
        last_epoch = 0.0
        if epochs:
            last_epoch = epochs[-1]["epoch"]
        signs.append(f"a loss or the gradient was not finite after epoch {last_epoch:.0f}")
    return signs


def in_last_phase(epochs: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return the epochs of the last phase, in which the weights of the loss no longer change."""
    return [epoch for epoch in epochs if epoch["phase"] == Phase.BALANCED]


def _not_finite(epochs: Sequence[EpochMetrics]) -> Iterator[str]:
    for epoch in epochs:
        names = []
        for name in MEASURED:
            if not math.isfinite(epoch.get(name, 0.0)):  # some depend on the data
                names.append(name)
        if names:
            yield f"{', '.join(names)} not finite in epoch {epoch['epoch']:.0f}"
            return


def _worse_than_the_mean(epochs: Sequence[EpochMetrics]) -> Iterator[str]:
    worse = [epoch for epoch in epochs[1:] if epoch["train_reconstruction"] > WORSE_THAN_MEAN]
    if worse:
        worst = max(worse, key=lambda epoch: epoch["train_reconstruction"])
        yield (
            f"reconstruction error of the training waveforms above {WORSE_THAN_MEAN:g} in {len(worse)} of "
            f"{len(epochs)} epochs, {worst['train_reconstruction']:.3g} in epoch {worst['epoch']:.0f} "
            "(predicting the mean gives 1)"
        )


def _spike(last_phase: Sequence[Mapping[str, float]], name: str) -> Iterator[str]:
    losses = _values(last_phase, name)
    for index in range(MIN_WINDOW, len(losses)):
        window = losses[max(0, index - WINDOW) : index]
        median = float(np.median(window))
        # As scipy.stats.median_abs_deviation(scale="normal"), whose import takes half a second.
        deviation = float(np.median(np.abs(window - median))) / NORMAL_DEVIATION
        if losses[index] > max(median + SPIKE_DEVIATIONS * deviation, SPIKE_FACTOR * median):
            epoch = last_phase[index]["epoch"]
            yield f"{name} jumped to {losses[index]:.3g} in epoch {epoch:.0f}, from a median of {median:.3g} before it"
            return


def _values(epochs: Sequence[Mapping[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([epoch[name] for epoch in epochs])


def _risen(last_phase: Sequence[Mapping[str, float]], name: str) -> Iterator[str]:
    losses = _values(last_phase, name)
    if len(losses) <= LATE_EPOCHS or not np.isfinite(losses).all():
        return
    late = float(np.median(losses[-LATE_EPOCHS:]))
    lowest = int(np.argmin(losses))
    if late > RISEN_FACTOR * losses[lowest]:
        yield (
            f"{name} rose to {late:.3g} (median of the last {LATE_EPOCHS} epochs) from "
            f"{losses[lowest]:.3g} in epoch {last_phase[lowest]['epoch']:.0f}"
        )
