"""The specification's remedies ("Troubleshooting"), with the options to change and their present values."""

import json
import math
from collections.abc import Sequence

from hcvae.config import Config
from hcvae.counting import counted

SETTLING_EPOCHS = 5
"""Epochs of the last phase after which the latents are judged, as they first adapt to the last rise of the KL weights.
If that phase or the patience of early stopping is shorter, they are judged as soon as the training can end."""


def against_poor_reconstruction(config: Config, remedy: str) -> str:
    """Advise a longer training where it was short, and `remedy` otherwise."""
    return _longer_training(config) or remedy


def against_poor_disentanglement(config: Config, collapsed: bool) -> str:
    """Advise stronger swap consistency, KL weights further apart, another input for the local encoder, FiLM."""
    if _longer_training(config):
        return _longer_training(config)
    if collapsed:
        return "fix the collapse first: a latent that contains no information controls nothing"
    steps: list[str] = []
    if config.model.model_type == "standard":
        return _joined([*steps, f"use the hierarchical model: {now(config, 'model.model_type')}"])
    steps.append(f"raise the swap consistency, {now(config, 'training.loss_weights.swap')}")
    if config.training.use_hierarchical_loss:
        steps.append(f"set the KL weights further apart, global below local: {_kl_weights(config)}")
    else:
        steps.append(f"give the latents KL weights of their own: {now(config, 'training.use_hierarchical_loss')}")
    steps.append(f"adjust {now(config, 'model.early_signal_ratio')}")
    if config.model.use_film:
        steps.append(
            "if z_global has little effect on the decoded waveform, make it an input of the decoder instead: "
            f"{now(config, 'model.use_film')}"
        )
    else:
        steps.append(f"condition the decoder by FiLM: {now(config, 'model.use_film')}")
    return _joined(steps)


def against_instability(config: Config) -> str:
    """Advise a lower learning rate, lower KL weights at first, clipped gradients."""
    clip = "clip gradients"
    if config.training.gradient_clip_norm is not None:
        clip = "clip more tightly"
    return _joined(
        [
            f"reduce {now(config, 'training.learning_rate')}",
            f"lower the KL weights at first: lengthen {now(config, 'training.phases.warmup')}, or lower "
            f"{_kl_weights(config)}",
            f"{clip}: {now(config, 'training.gradient_clip_norm')}",
        ]
    )


def against_collapse(config: Config, levels: Sequence[str]) -> str:
    """Advise lower KL weights for the collapsed latents, those of `levels`, more dimensions, regularisation."""
    if _longer_training(config):
        return _longer_training(config)
    latents = " and ".join(f"z_{level}" for level in levels)
    return _joined(
        [
            f"balance the KL weights, lower for {latents}: {_kl_weights(config)}",
            f"increase {_now_of_each(config, 'model.{}_latent_dim', levels)}",
            f"regularise more: {now(config, 'model.dropout')}, {now(config, 'training.weight_decay')}",
        ]
    )


def against_misplaced_peaks(config: Config) -> str:
    """Advise a peak head limited to possible latencies, a stronger peak loss, a longer training, or no peak head."""
    steps = []
    if config.model.peak_window_ms is None:
        steps.append("train again: this older peak head may predict any latency")
    steps.append(f"raise {now(config, 'training.loss_weights.peak')}")
    steps.append(f"train longer: {now(config, 'training.epochs')}")
    steps.append(f"without enough labels, predict no peaks: {now(config, 'model.predict_peaks')}")
    return _joined(steps)


def now(config: Config, path: str) -> str:
    """Return the option of a dotted key of the configuration with its present value, to three digits."""
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    if isinstance(value, float):
        value = float(f"{value:.3g}")
    return f"--{path} (now {json.dumps(value)})"


def _longer_training(config: Config) -> str:
    """Advise a longer training where the last phase is too short to judge the latents; otherwise nothing."""
    training = config.training
    last = training.phases.lengths(training.epochs)[2]
    if last >= SETTLING_EPOCHS:
        return ""
    needed = math.ceil(SETTLING_EPOCHS / (1 - training.phases.reconstruction - training.phases.warmup))
    return (
        f"train longer first, {needed} epochs or more: {now(config, 'training.epochs')}; only {counted(last, 'epoch')} "
        "had the final weights of the loss, too few to judge anything else"
    )


def _kl_weights(config: Config) -> str:
    if config.model.model_type == "standard" or not config.training.use_hierarchical_loss:
        return now(config, "training.loss_weights.kl")
    levels = ["global", "local"]
    if config.model.intermediate_levels:
        levels.insert(1, "intermediate")
    return _now_of_each(config, "training.loss_weights.{}_kl", levels)


def _now_of_each(config: Config, path: str, levels: Sequence[str]) -> str:
    """Return `now` for each level, whose name replaces `{}` in `path`."""
    return " and ".join(now(config, path.format(level)) for level in levels)


def _joined(steps: Sequence[str]) -> str:
    return "; ".join(steps)
