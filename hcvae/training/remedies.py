"""The specification's remedies ("Troubleshooting"), each with the configuration keys to change and their values now."""

import json
from collections.abc import Sequence

from hcvae.config import Config


def against_poor_disentanglement(config: Config, collapsed: bool) -> str:
    """Stronger swap consistency, KL weights further apart, another view for the local encoder, FiLM that works."""
    steps = ["mend the collapse first"] if collapsed else []
    if config.model.model_type == "standard":
        return _joined([*steps, f"use the hierarchical model: {now(config, 'model.model_type')}"])
    steps.append(f"raise the swap consistency, {now(config, 'training.loss_weights.swap')}")
    if config.training.use_hierarchical_loss:
        steps.append(f"widen the difference of the KL weights, global below local: {_kl_weights(config)}")
    else:
        steps.append(f"give the latents KL weights of their own: {now(config, 'training.use_hierarchical_loss')}")
    steps.append(f"adjust {now(config, 'model.early_signal_ratio')}")
    if config.model.use_film:
        steps.append(f"check that FiLM has an effect (film_effect; {now(config, 'model.use_film')})")
    else:
        steps.append(f"steer the decoder by FiLM: {now(config, 'model.use_film')}")
    return _joined(steps)


def against_instability(config: Config) -> str:
    """A lower learning rate, lower KL weights at first, clipped gradients."""
    clip = now(config, "training.gradient_clip_norm")
    return _joined(
        [
            f"reduce {now(config, 'training.learning_rate')}",
            f"lower the KL weights at first: lengthen {now(config, 'training.phases.warmup')}, or lower "
            f"{_kl_weights(config)}",
            f"clip gradients: {clip}" if config.training.gradient_clip_norm is None else f"clip more tightly: {clip}",
        ]
    )


def against_collapse(config: Config, levels: Sequence[str]) -> str:
    """Balanced KL weights, lower for the collapsed latents, by `levels`; more dimensions, regularisation."""
    steps = [
        f"balance the KL weights, lower for {' and '.join(f'z_{level}' for level in levels)}: {_kl_weights(config)}"
    ]
    steps.append(f"increase {' and '.join(now(config, f'model.{level}_latent_dim') for level in levels)}")
    steps.append(f"regularise more: {now(config, 'model.dropout')}, {now(config, 'training.weight_decay')}")
    return _joined(steps)


def against_misplaced_peaks(config: Config) -> str:
    """A stronger peak loss, a longer training, or no peak head."""
    return _joined(
        [
            f"raise {now(config, 'training.loss_weights.peak')}",
            f"train longer: {now(config, 'training.epochs')}",
            f"without enough labels, predict no peaks: {now(config, 'model.predict_peaks')}",
        ]
    )


def now(config: Config, path: str) -> str:
    """A key of the configuration by its dotted path, and its value as JSON."""
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    return f"{path} (now {json.dumps(value)})"


def _kl_weights(config: Config) -> str:
    if config.model.model_type == "standard" or not config.training.use_hierarchical_loss:
        return now(config, "training.loss_weights.kl")
    levels = ("global", *(("intermediate",) if config.model.intermediate_levels else ()), "local")
    return " and ".join(now(config, f"training.loss_weights.{level}_kl") for level in levels)


def _joined(steps: Sequence[str]) -> str:
    return "; ".join(steps)
