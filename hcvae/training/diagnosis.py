"""Troubles of a training, found in its history: those of the specification's "Troubleshooting", poor reconstruction
and misplaced peaks.

Pure: the same configuration and history give the same findings, whether the training runs, has ended or has failed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from hcvae.config import Config
from hcvae.errors import UserError
from hcvae.finding import Finding
from hcvae.poor_reconstruction import poor_reconstruction
from hcvae.training import remedies
from hcvae.training.instability import in_last_phase, signs_of_instability
from hcvae.training.remedies import SETTLING_EPOCHS

Trouble = Literal["poor reconstruction", "poor disentanglement", "training instability", "collapse", "misplaced peaks"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
Level = Literal["global", "intermediate", "local"]
LEVELS: tuple[Level, ...] = get_args(Level)
Metrics = Mapping[str, float]

POOR_DISENTANGLEMENT = 0.3
"""Score below which the latents are not disentangled: KL weights alone reached 0.21 +- 0.11 over 6 seeds on simulated
responses, the weakest swap consistency that helped 0.34."""
FEW_NATS = 1.0
"""A latent of fewer nats carries less than one number: a Gaussian number known to 14 % of its variance needs 1 nat."""
SMALL_SHARE_OF_KL = 0.05
"""A latent of few nats is collapsed if the other latents carry nearly all nats."""
SMALL_SHARE_OF_UNITS = 0.1
"""A latent of few nats is collapsed if few of its dimensions are active. Few active units alone are no trouble: for
10 ms, offset, trend (2 coefficients) and gain are 4 numbers, and z_global may have 64 dimensions."""
FAR_FROM_MAXIMUM_MS = 0.2
"""Median distance of a predicted wave from the nearest maximum of its decoded waveform. Maxima are 1 to 1.5 ms apart,
so random latencies are 0.3 ms from one; the models of the quickstart reach 0.03 to 0.05 ms."""
MANY_IMPOSSIBLE = 0.01
"""Share of waveforms with an impossible peak; a few rare conditions are beyond the labels of the training."""
MANY_FAR = 0.05
"""Share of predicted waves farther than 1 ms from every maximum of their waveform."""


@dataclass(frozen=True)
class Diagnosis:
    """The result of an examination."""

    findings: tuple[Finding, ...]
    """Troubles, in the order of `TROUBLES`; empty for a healthy training."""
    figures: Mapping[Trouble, str | None]
    """The numbers behind the judgement, by trouble; None if the training was too short to judge. Peaks are included
    only if they are predicted and labelled."""


def diagnose(
    config: Config,
    history: Sequence[Mapping[str, float | None]],
    drawn: Metrics = MappingProxyType({}),
    *,
    diverged: bool = False,
) -> tuple[Finding, ...]:
    """Return the troubles of a training so far; arguments as for `examine`."""
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
    stability from the first epoch on, peaks on generated waveforms or, before there are any, on reconstructions.

    Args:
        config: the training's.
        history: the metrics of each finished epoch, as `hcvae.training.fit` reports them; None where not finite.
        drawn: metrics of the model on the validation part, with those of `hcvae.training.evaluation.sampled_peaks` if
            waveforms were generated.
        diverged: whether `TrainingDiverged` ended the training after these epochs.

    Raises:
        UserError: an epoch lacks a metric that `fit` always reports.
    """
    try:
        return _examine(config, history, drawn, diverged)
    except KeyError as error:
        raise UserError(
            f"history: each epoch must have the metric {error}, but one lacks it; is it damaged?"
        ) from error


def _examine(
    config: Config, history: Sequence[Mapping[str, float | None]], drawn: Metrics, diverged: bool
) -> Diagnosis:
    epochs = list(map(_with_nan, history))
    best = _judged_epoch(config, epochs)
    figures: dict[Trouble, str | None] = {
        "poor reconstruction": None,
        "poor disentanglement": None,
        "training instability": None,
        "collapse": None,
    }
    findings: list[Finding] = []
    nmse = drawn.get("reconstruction_nmse", (best or {}).get("reconstruction_nmse"))
    if nmse is not None:
        figures["poor reconstruction"] = f"reconstruction_nmse {nmse:.4f} (the mean of all waveforms reaches 1)"
        findings += _poor_reconstruction(config, nmse)
    collapsed = _collapsed(config, best)
    if best and "disentanglement" in best:
        figures["poor disentanglement"] = _routing(best)
        findings += _poor_disentanglement(config, best, bool(collapsed))
    findings += _instability(config, epochs, diverged)
    if epochs:
        figures["training instability"] = _losses(epochs[-1])
    if best:
        figures["collapse"] = _latent_use(config, best)
        if collapsed:
            remedy = remedies.against_collapse(config, collapsed)
            findings.append(Finding("collapse", _latent_use(config, best), remedy))
    placed, where = _placed(best, drawn)
    if placed:
        figures["misplaced peaks"] = _peaks(placed, where)
    elif any("impossible_peaks" in epoch for epoch in epochs):
        figures["misplaced peaks"] = None
    if _are_misplaced(placed):
        findings.append(Finding("misplaced peaks", _peaks(placed, where), remedies.against_misplaced_peaks(config)))
    return Diagnosis(tuple(findings), figures)


def _poor_reconstruction(config: Config, nmse: float) -> Iterator[Finding]:
    poor = poor_reconstruction({"validation": nmse})
    if poor is not None:
        remedy = remedies.against_poor_reconstruction(config, poor.remedy)
        yield Finding("poor reconstruction", poor.evidence, remedy)


def _poor_disentanglement(config: Config, best: Metrics, is_collapsed: bool) -> Iterator[Finding]:
    if best["disentanglement"] < POOR_DISENTANGLEMENT:
        remedy = remedies.against_poor_disentanglement(config, is_collapsed)
        yield Finding("poor disentanglement", _routing(best), remedy)


def _instability(config: Config, epochs: Sequence[dict[str, float]], diverged: bool) -> Iterator[Finding]:
    signs = signs_of_instability(epochs, diverged, config.training.learned_scales != "none")
    if signs:
        yield Finding("training instability", "; ".join(signs), remedies.against_instability(config))


def _with_nan(epoch: Mapping[str, float | None]) -> dict[str, float]:
    numbers = dict.fromkeys(epoch, math.nan)
    for name, value in epoch.items():
        if value is not None:
            numbers[name] = value
    return numbers


def kl_balance(metrics: Mapping[str, float]) -> float:
    """Return z_global's share, 0 to 1, of the latents' KL divergence in an epoch; equal shares if all are 0."""
    return _share_of_kl(metrics, "global")


def _share_of_kl(metrics: Metrics, level: Level) -> float:
    nats: dict[Level, float] = {}
    for each in LEVELS:
        if each != "intermediate" or "intermediate_kl" in metrics:
            nats[each] = metrics[f"{each}_kl"]
    total = sum(nats.values())
    if not total:
        return 1 / len(nats)
    return nats[level] / total


def _levels(config: Config) -> tuple[Level, ...]:
    if config.model.intermediate_levels:
        return LEVELS
    return ("global", "local")


def _judged_epoch(config: Config, epochs: Sequence[Metrics]) -> Metrics | None:
    """Return the best epoch; None before the last phase has settled, or if no epoch of it has a finite loss."""
    training = config.training
    patience = training.early_stopping_patience or SETTLING_EPOCHS
    settled = min(SETTLING_EPOCHS, patience, training.phases.lengths(training.epochs)[2])
    last_phase = in_last_phase(epochs)
    if len(last_phase) < settled:
        return None
    measured = [epoch for epoch in last_phase if math.isfinite(epoch["validation_loss"])]
    return min(measured, key=lambda epoch: epoch["validation_loss"], default=None)


def _collapsed(config: Config, best: Metrics | None) -> tuple[Level, ...]:
    if not best:
        return ()
    levels = _levels(config)
    collapsed = [level for level in levels if _has_collapsed(config, best, level)]
    if config.model.model_type == "standard" and len(collapsed) < len(levels):
        return ()  # its two parts are one latent, and either may carry everything
    return tuple(collapsed)


def _has_collapsed(config: Config, best: Metrics, level: Level) -> bool:
    units = best[f"{level}_active_units"]
    nats = best[f"{level}_kl"]
    share_of_units = units / _dimensions(config, level)
    few = _share_of_kl(best, level) < SMALL_SHARE_OF_KL or share_of_units < SMALL_SHARE_OF_UNITS
    return units == 0 or (nats < FEW_NATS and few)


def _placed(best: Metrics | None, drawn: Metrics) -> tuple[Metrics, str]:
    """Return the metrics of peak placement and the name of the waveforms; both empty where not measured."""
    prefix = "generated_"
    generated = {name.removeprefix(prefix): value for name, value in drawn.items() if name.startswith(prefix)}
    if generated:
        return generated, "generated waveforms"
    if best and "impossible_peaks" in best:
        return best, f"reconstructions in epoch {best['epoch']:.0f}"
    return {}, ""


def _are_misplaced(placed: Metrics) -> bool:
    def worst(start: str) -> float:
        values = [value for name, value in placed.items() if name.startswith(start)]
        return max(values, default=0.0)

    return (
        worst("impossible_peaks") > MANY_IMPOSSIBLE
        or worst("peak_distance_ms") > FAR_FROM_MAXIMUM_MS
        or worst("far_peaks") > MANY_FAR
    )


def _dimensions(config: Config, level: Level) -> int:
    model = config.model
    if level == "intermediate":
        return model.intermediate_levels * model.intermediate_latent_dim
    if level == "global":
        return model.global_latent_dim
    return model.local_latent_dim


def _routing(best: Metrics) -> str:
    text = (
        f"disentanglement {best['disentanglement']:.2f} in epoch {best['epoch']:.0f} "
        f"(healthy from {POOR_DISENTANGLEMENT:g}), selectivity {best['selectivity_coarse']:.2f} coarse and "
        f"{best['selectivity_fine']:.2f} fine"
    )
    film_effect = best.get("film_effect")
    if film_effect is None:
        return text
    return f"{text}; z_global alone moves {film_effect:.0%} of the decoded waveform's variance under swaps"


def _peaks(placed: Metrics, where: str) -> str:
    distances = []
    for name in placed:
        if name.startswith("peak_distance_ms"):
            wave = name.rpartition("_")[2]
            distances.append(f"wave {wave} {placed[name]:.2f} ms ({placed[f'far_peaks_{wave}']:.0%} over 1 ms)")
    return (
        f"{placed['impossible_peaks']:.0%} of the {where} have an impossible peak; "
        f"median distance of the others from the nearest maximum: {', '.join(distances) or 'none is possible'}"
    )


def _losses(last: Metrics) -> str:
    return (
        f"train_loss {last['train_loss']:.3g}, validation_loss {last['validation_loss']:.3g} "
        f"and gradient norm {last['train_gradient_norm']:.2g} in epoch {last['epoch']:.0f}"
    )


def _latent_use(config: Config, best: Metrics) -> str:
    latents = []
    for level in _levels(config):
        latents.append(
            f"z_{level} has {best[f'{level}_active_units']:.0f} of {_dimensions(config, level)} units active and "
            f"{best[f'{level}_kl']:.2g} nats (weight acts like beta {best[f'{level}_beta']:.2g})"
        )
    return f"{', '.join(latents)} in epoch {best['epoch']:.0f}; KL balance {kl_balance(best):.0%} global"
