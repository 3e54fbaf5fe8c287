"""The directions of a latent that change the waveform most: what the sliders of the latents move along.

Legend: D dimensions of a latent block, K directions, T samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import Value
from hcvae.data.table import signals_of
from hcvae.generation import decode
from hcvae.generation.conditions import condition_table


@dataclass(frozen=True)
class Directions:
    """Of one latent block."""

    vectors: Tensor
    """One standard deviation of the prior along each direction, [K, D]."""
    change_uv: NDArray[np.float32]
    """Root mean square of what that changes in the waveform, [K]."""


def prior_means(bundle: Bundle, condition: Mapping[str, Value]) -> dict[str, Tensor]:
    """The mean [1, D] of the fitted prior of each block under a complete condition."""
    static = torch.from_numpy(bundle.preprocessing.static.encode(condition_table(bundle, [condition])))
    with torch.no_grad():
        return {block: bundle.model.prior(block).mean(static) for block in bundle.model.latent_dims}


def leading_directions(bundle: Bundle, block: str, condition: Mapping[str, Value], count: int) -> Directions:
    """The `count` directions of the fitted prior of `block`, at most D, that change the waveform most.

    The prior is z = m + F e with standard-normal e [D]. Singular vectors of the change of the waveform [D, T] by one
    standard deviation of each e, up and down from m, are orthogonal in e: independent of each other, and all of one
    standard deviation. (Leading eigenvectors of the covariance F F' alone say nothing where the KL weight is high, as
    it is then nearly the identity.) Each points to where the typical waveform grows rather than shrinks.
    """
    means = prior_means(bundle, condition)
    factor = bundle.model.prior(block).factor.T  # a row is what one standard deviation of one e moves z by
    up, down, typical = (_waveforms(bundle, condition, means, block, means[block] + s * factor) for s in (1, -1, 0))
    change = (up - down) / 2
    left, size, _ = np.linalg.svd(change, full_matrices=False)
    count = min(count, len(size))
    vectors = torch.from_numpy(left[:, :count].T.astype(np.float32)) @ factor
    up, down = (_waveforms(bundle, condition, means, block, means[block] + s * vectors) for s in (1, -1))
    shrinks = (up - down) @ (typical[0] - typical[0].mean()) < 0
    vectors[torch.from_numpy(shrinks)] *= -1
    return Directions(vectors, size[:count] / np.sqrt(change.shape[1]))


def _waveforms(
    bundle: Bundle, condition: Mapping[str, Value], means: Mapping[str, Tensor], block: str, z: Tensor
) -> NDArray[np.float32]:
    """In uV [rows of z, T], with `z` in `block` and the means in the others."""
    latents = {name: mean.expand(len(z), -1) for name, mean in means.items()} | {block: z}
    return signals_of(decode(bundle, [condition] * len(z), latents))
