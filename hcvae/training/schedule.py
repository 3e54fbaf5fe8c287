"""The specification's three phases: reconstruction first, rising KL weights, balanced weights."""

import math
from dataclasses import dataclass
from enum import IntEnum

from hcvae.config import Config, LossWeights, TrainingConfig

CYCLES = 4
"""Rises of the KL weights in a cyclical warm-up."""
KL_TERMS = ("global_kl", "intermediate_kl", "local_kl", "kl", "total_correlation")


class Phase(IntEnum):
    """A phase of the training, numbered as in the specification."""

    RECONSTRUCTION = 1
    KL_WARMUP = 2
    BALANCED = 3


@dataclass(frozen=True)
class EpochPlan:
    """The loss weights and learning rate of one epoch."""

    phase: Phase
    weights: LossWeights
    learning_rate: float
    """AdamW's."""


def kl_factor(progress: float, schedule: str) -> float:
    """Return the share of the final KL weights at `progress` in (0, 1) through phase 2.

    `cyclical` rises over the first half of each of four cycles and holds over the second (Fu et al. 2019,
    "Cyclical Annealing Schedule", NAACL).
    """
    if schedule == "linear":
        return progress
    if schedule == "cosine":
        return (1 - math.cos(math.pi * progress)) / 2
    return min(1.0, 2 * math.fmod(progress * CYCLES, 1.0))


def plan_epoch(epoch: int, training: TrainingConfig) -> EpochPlan:
    """Return the plan of `epoch`, counted from 0.

    The last phase fine-tunes: its learning rate falls along half a cosine towards 0 (Loshchilov & Hutter 2017, SGDR).
    """
    phases = training.phases
    weights = training.loss_weights
    rate = training.learning_rate
    first, second, third = phases.lengths(training.epochs)
    if epoch < first:
        boosted = weights.reconstruction * phases.reconstruction_boost
        without_kl = {"reconstruction": boosted, **dict.fromkeys(KL_TERMS, 0.0)}
        return EpochPlan(Phase.RECONSTRUCTION, weights.model_copy(update=without_kl), rate)
    if epoch < first + second:
        factor = kl_factor((epoch - first + 1) / (second + 1), phases.kl_schedule)
        scaled = {name: getattr(weights, name) * factor for name in KL_TERMS}
        return EpochPlan(Phase.KL_WARMUP, weights.model_copy(update=scaled), rate)
    progress = (epoch - first - second) / third
    return EpochPlan(Phase.BALANCED, weights, rate * (1 + math.cos(math.pi * progress)) / 2)


def component_weights(config: Config, weights: LossWeights) -> dict[str, float]:
    """Return the weight of each loss component; a single KL weight applies to all latents.

    The factor within swap consistency is no weight of a component: `TrainingStep` has it.

    A standard model has a single latent, whose global and local part have no different roles: it has no swap term.
    """
    by_name = weights.model_dump(exclude={"swap_coarse_factor"})
    kl = by_name.pop("kl")
    if config.model.model_type == "standard" or not config.training.use_hierarchical_loss:
        by_name |= {"global_kl": kl, "intermediate_kl": kl, "local_kl": kl}
    if config.model.model_type == "standard":
        by_name["swap"] = 0.0
    return by_name
