"""The directions of a latent that change the waveform most, for the sliders of `hcvae explore`.

Shapes: D dimensions of a latent block, K directions, T samples.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue
from hcvae.data.table import signals_of
from hcvae.generation import decode
from hcvae.generation.conditions import condition_table


def prior_means(bundle: Bundle, condition: Mapping[str, ConditionValue]) -> dict[str, Tensor]:
    """Return the mean [1, D] of the fitted prior of each block under a complete condition."""
    static = torch.from_numpy(bundle.preprocessing.static.encode(condition_table(bundle, [condition])))
    with torch.no_grad():
        return {block: bundle.model.prior(block).mean(static) for block in bundle.model.latent_dims}


def leading_directions(bundle: Bundle, block: str, condition: Mapping[str, ConditionValue], count: int) -> Tensor:
    """Return the `count` directions [K, D], at most D, of the fitted prior of `block` that change the waveform most.

    Each is one standard deviation long. The prior is z = m + F e with standard-normal e [D]. Singular vectors of the
    change of the waveform [D, T] by one standard deviation of each e, up and down from m, are orthogonal in e, so the
    directions are independent and each is one standard deviation. (Leading eigenvectors of the covariance F F' alone
    mean nothing if the KL weight is high, as it is then nearly the identity.) The sign of each is chosen so that the
    typical waveform grows rather than shrinks.
    """
    factor = bundle.model.prior(block).factor.T  # a row is the shift of z by one standard deviation of one e
    left, _, _ = np.linalg.svd(_change(bundle, block, condition, factor), full_matrices=False)
    vectors = torch.from_numpy(left[:, :count].T.astype(np.float32)) @ factor
    typical = signals_of(decode(bundle, [condition], prior_means(bundle, condition)))[0]
    shrinks = _change(bundle, block, condition, vectors) @ (typical - typical.mean()) < 0
    vectors[torch.from_numpy(shrinks)] *= -1
    return vectors


def change_uv(
    bundle: Bundle, block: str, condition: Mapping[str, ConditionValue], vectors: Tensor
) -> NDArray[np.float32]:
    """Return the change of a condition's waveform by each of `vectors` [K, D], as root mean square over T, [K]."""
    change = _change(bundle, block, condition, vectors)
    return np.asarray(np.sqrt(np.mean(change**2, axis=1)), np.float32)


def _change(
    bundle: Bundle, block: str, condition: Mapping[str, ConditionValue], vectors: Tensor
) -> NDArray[np.float32]:
    """Return half the difference in uV [K, T] of the waveforms at the prior's mean plus and minus each of `vectors`."""
    means = prior_means(bundle, condition)
    z = torch.cat([means[block] + vectors, means[block] - vectors])
    latents = {}
    for name, mean in means.items():
        latents[name] = mean.expand(len(z), -1)
    latents[block] = z
    up, down = np.split(signals_of(decode(bundle, [condition] * len(z), latents)), 2)
    return np.asarray((up - down) / 2, np.float32)
