"""What is wrong with a training, read from its history: the troubles of the specification's "Troubleshooting", and one
of the peak head.

Pure: the same configuration and history give the same findings, be the training running, ended or failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from hcvae.config import Config
from hcvae.errors import UserError
from hcvae.finding import Finding
from hcvae.training import remedies
from hcvae.training.instability import signs_of_instability
from hcvae.training.schedule import Phase

Trouble = Literal["poor disentanglement", "training instability", "collapse", "misplaced peaks"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
Level = Literal["global", "intermediate", "local"]
LEVELS: tuple[Level, ...] = get_args(Level)
Metrics = Mapping[str, float]

SETTLING_EPOCHS = 5
"""Epochs of the last phase before the latents are judged: they still answer the last rise of the KL weights. Where that
phase or the patience of early stopping is shorter, they are judged as soon as the training can end."""
POOR_DISENTANGLEMENT = 0.3
"""Below it the latents do not divide their work: KL weights alone reached 0.21 +- 0.11 over 6 seeds on simulated
responses, the weakest swap consistency that helped 0.34."""
FEW_NATS = 1.0
"""A latent of fewer nats carries less than one number: a Gaussian number known to 14 % of its variance costs 1 nat."""
SMALL_SHARE_OF_KL = 0.05
"""A latent of few nats is collapsed where the others carry nearly all."""
SMALL_SHARE_OF_UNITS = 0.1
"""A latent of few nats is collapsed where few of its dimensions are active. Few units alone are no trouble: offset,
trend and gain are 4 numbers, and z_global may have 64 dimensions."""
FAR_FROM_MAXIMUM_MS = 0.2
"""Median distance of a predicted wave from the nearest maximum of its decoded waveform. Maxima are 1 to 1.5 ms apart,
so that latencies at random are 0.3 ms from one; the models of the quickstart reach 0.03 to 0.05 ms."""
MANY_FAR = 0.05
"""Share of predicted waves farther than 1 ms from every maximum of their waveform."""


@dataclass(frozen=True)
class Diagnosis:
    """What a training was examined for."""

    findings: tuple[Finding, ...]
    """Its troubles, in the order of `TROUBLES`; empty for a healthy training."""
    figures: Mapping[Trouble, str | None]
    """The numbers that each trouble was looked for in; None where the training was too short to judge.
    Peaks are there only where they are predicted and labelled."""


def diagnose(
    config: Config,
    history: Sequence[Mapping[str, float | None]],
    drawn: Metrics = MappingProxyType({}),
    *,
    diverged: bool = False,
) -> tuple[Finding, ...]:
    """The troubles of a training so far; arguments as for `examine`."""
    return examine(config, history, drawn, diverged=diverged).findings


def examine(
    config: Config,
    history: Sequence[Mapping[str, float | None]],
    drawn: Metrics = MappingProxyType({}),
    *,
    diverged: bool = False,
) -> Diagnosis:
    """Look for each trouble in the metrics of a training's epochs.

    Latents are judged at the best epoch (lowest validation loss of the last phase) once that phase has settled,
    stability from the first epoch on; peaks on generated waveforms, or before there are any, on reconstructions.

    Args:
        config: what was trained.
        history: the metrics of each finished epoch, as `hcvae.training.fit` reports them; None where not finite.
        drawn: metrics that hold `hcvae.training.evaluation.sampled_peaks` of the trained model; empty: not drawn.
        diverged: whether `TrainingDiverged` ended the training after these epochs.

    Raises:
        UserError: an epoch lacks a metric, as no training of ours does.
    """
    try:
        return _examine(config, history, drawn, diverged)
    except KeyError as error:
        raise UserError(f"history: each epoch must have the metric {error}, but one has not; is it damaged?") from error


def _examine(
    config: Config, history: Sequence[Mapping[str, float | None]], drawn: Metrics, diverged: bool
) -> Diagnosis:
    epochs = [{name: math.nan if value is None else value for name, value in epoch.items()} for epoch in history]
    best = _judged_epoch(config, epochs)
    collapsed = _collapsed(config, best) if best else ()
    signs = signs_of_instability(epochs, diverged, config.training.learned_scales != "none")
    findings = []
    routed = best is not None and "disentanglement" in best
    if best and routed and best["disentanglement"] < POOR_DISENTANGLEMENT:
        remedy = remedies.against_poor_disentanglement(config, bool(collapsed))
        findings.append(Finding("poor disentanglement", _routing(best), remedy))
    if signs:
        findings.append(Finding("training instability", "; ".join(signs), remedies.against_instability(config)))
    if best and collapsed:
        findings.append(Finding("collapse", _use(config, best), remedies.against_collapse(config, collapsed)))
    placed, where = _placed(best, drawn)
    if _are_misplaced(placed):
        findings.append(Finding("misplaced peaks", _peaks(placed, where), remedies.against_misplaced_peaks(config)))
    figures: dict[Trouble, str | None] = {
        "poor disentanglement": _routing(best) if best and routed else None,
        "training instability": _losses(epochs[-1]) if epochs else None,
        "collapse": _use(config, best) if best else None,
    }
    if placed or any("impossible_peaks" in epoch for epoch in epochs):
        figures["misplaced peaks"] = _peaks(placed, where) if placed else None
    return Diagnosis(tuple(findings), figures)


def kl_balance(metrics: Mapping[str, float]) -> float:
    """z_global's share of the latents' KL divergence in an epoch, 0 to 1; as much as the others' where none has any."""
    return _share_of_kl(metrics, "global")


def _share_of_kl(metrics: Metrics, level: Level) -> float:
    nats = {each: metrics[f"{each}_kl"] for each in LEVELS if each != "intermediate" or "intermediate_kl" in metrics}
    total = sum(nats.values())
    return nats[level] / total if total else 1 / len(nats)


def _levels(config: Config) -> tuple[Level, ...]:
    return tuple(level for level in LEVELS if level != "intermediate" or config.model.intermediate_levels)


def _judged_epoch(config: Config, epochs: Sequence[Metrics]) -> Metrics | None:
    """The best epoch; None before the last phase has settled, or where none of its epochs could be measured."""
    training = config.training
    patience = training.early_stopping_patience or SETTLING_EPOCHS
    settled = min(SETTLING_EPOCHS, patience, training.phases.lengths(training.epochs)[2])
    last_phase = [epoch for epoch in epochs if epoch["phase"] == Phase.BALANCED]
    measured = [epoch for epoch in last_phase if math.isfinite(epoch["validation_loss"])]
    if len(last_phase) < settled:
        return None
    return min(measured, key=lambda epoch: epoch["validation_loss"], default=None)


def _collapsed(config: Config, best: Metrics) -> tuple[Level, ...]:
    levels = _levels(config)
    collapsed = tuple(level for level in levels if _has_collapsed(config, best, level))
    one_latent = config.model.model_type == "standard"  # its two parts are one latent: either may hold it all
    return collapsed if len(collapsed) == len(levels) or not one_latent else ()


def _has_collapsed(config: Config, best: Metrics, level: Level) -> bool:
    units, nats = best[f"{level}_active_units"], best[f"{level}_kl"]
    share_of_units = units / _dimensions(config, level)
    few = _share_of_kl(best, level) < SMALL_SHARE_OF_KL or share_of_units < SMALL_SHARE_OF_UNITS
    return units == 0 or (nats < FEW_NATS and few)


def _placed(best: Metrics | None, drawn: Metrics) -> tuple[Metrics, str]:
    """How well peaks lie, and on what; empty where nobody measured it."""
    generated = {name.removeprefix("generated_"): n for name, n in drawn.items() if name.startswith("generated_")}
    if generated:
        return generated, "generated waveforms"
    if best and "impossible_peaks" in best:
        return best, f"reconstructions in epoch {best['epoch']:.0f}"
    return {}, ""


def _are_misplaced(placed: Metrics) -> bool:
    def worst(start: str) -> float:
        return max((value for name, value in placed.items() if name.startswith(start)), default=0.0)

    far_ms, far = worst("peak_distance_ms"), worst("far_peaks")
    return worst("impossible_peaks") > 0 or far_ms > FAR_FROM_MAXIMUM_MS or far > MANY_FAR


def _dimensions(config: Config, level: Level) -> int:
    model = config.model
    of_intermediate = model.intermediate_levels * model.intermediate_latent_dim
    return {"global": model.global_latent_dim, "intermediate": of_intermediate, "local": model.local_latent_dim}[level]


def _routing(best: Metrics) -> str:
    said = (
        f"disentanglement {best['disentanglement']:.2f} in epoch {best['epoch']:.0f} "
        f"(healthy from {POOR_DISENTANGLEMENT:g}), selectivity {best['selectivity_coarse']:.2f} coarse and "
        f"{best['selectivity_fine']:.2f} fine"
    )
    film_effect = best.get("film_effect")
    if film_effect is None:
        return said
    return f"{said}; z_global alone moves {film_effect:.0%} of the decoded waveform's variance under swaps"


def _peaks(placed: Metrics, where: str) -> str:
    waves = [name.rpartition("_")[2] for name in placed if name.startswith("peak_distance_ms")]
    distances = [
        f"wave {wave} {placed[f'peak_distance_ms_{wave}']:.2f} ms ({placed[f'far_peaks_{wave}']:.0%} over 1 ms)"
        for wave in waves
    ]
    return (
        f"{placed['impossible_peaks']:.0%} of the {where} have an impossible peak; "
        f"median distance of the others from the nearest maximum: {', '.join(distances) or 'none is possible'}"
    )


def _losses(last: Metrics) -> str:
    return (
        f"train_loss {last['train_loss']:.3g}, validation_loss {last['validation_loss']:.3g} "
        f"and gradient norm {last['train_gradient_norm']:.2g} in epoch {last['epoch']:.0f}"
    )


def _use(config: Config, best: Metrics) -> str:
    latents = [
        f"z_{level} has {best[f'{level}_active_units']:.0f} of {_dimensions(config, level)} units active and "
        f"{best[f'{level}_kl']:.2g} nats (weight acts like beta {best[f'{level}_beta']:.2g})"
        for level in _levels(config)
    ]
    return f"{', '.join(latents)} in epoch {best['epoch']:.0f}; KL balance {kl_balance(best):.0%} global"
