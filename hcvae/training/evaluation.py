"""The metrics of a model on one part of the split, both search objectives included.

Shapes: N waveforms, T samples, S static parameters, G global and L local latent dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.data.dataset import Part
from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import UserError
from hcvae.metrics.bootstrap import reconstruction_intervals
from hcvae.metrics.decoding import Decode
from hcvae.metrics.latent_use import active_units
from hcvae.metrics.reconstruction import (
    MIN_RELIABILITY,
    correlation,
    cross_average_nmse,
    denoised_nmse,
    nmse,
    peak_errors,
    r2,
    reliability,
)
from hcvae.metrics.registered import registered_metrics
from hcvae.metrics.routing_data import RoutingData
from hcvae.metrics.swap_routing import route
from hcvae.models import Model
from hcvae.models.base import evaluating
from hcvae.peaks import placement_of_predicted
from hcvae.training.objective import Objective
from hcvae.training.tensors import PartTensors

ROWS_AT_ONCE = 4096
ROUTING_METRICS = ("disentanglement", "selectivity_coarse", "selectivity_fine", "film_effect")
"""Metrics that need routing data."""


@dataclass(frozen=True)
class EvaluationPart:
    """A part of the split with all that its evaluation needs and no epoch changes."""

    part: Part
    tensors: PartTensors
    """The same rows on the device of the model."""
    preprocessing: Preprocessing
    routing: RoutingData | None = None
    """From `hcvae.readiness.routing_data`; None leaves out disentanglement and the metrics beside it."""

    @classmethod
    def of(
        cls, part: Part, device: torch.device, preprocessing: Preprocessing, routing: RoutingData | None = None
    ) -> "EvaluationPart":
        """Put the rows of `part` on `device`."""
        return cls(part, PartTensors.of(part, device), preprocessing, routing)

    def in_uv(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert normalised waveforms [N, T] of these rows to uV."""
        return self.preprocessing.signal.denormalize(signals, self.part.group)


@torch.no_grad()
def evaluate(model: Model, rows: EvaluationPart, objective: Objective, bf16: bool = False) -> dict[str, float]:
    """Measure `model` on `rows` from posterior means, in eval mode; `bf16` runs its networks under autocast.

    Returns `reconstruction_nmse` and `disentanglement` (the search's objectives), `validation_loss` (of
    `objective`, with the weights of the last phase, without the terms of exchanged latents and of draws), `r2`,
    `correlation`, `film_effect` (the share of z_global in the effect of exchanged latents on the decoded waveform);
    for each latent block its KL divergence in nats per waveform, the beta equivalent to its weight, the variance of
    the means and the active units; `cross_average_nmse`, `denoised_nmse` and per-wave peak errors where the part has
    independent averages and labels; `peak_placement` of the reconstructions; the number of `parameters`; the metrics of
    `hcvae.metrics.registered`.

    Raises:
        UserError: all waveforms of the part are the same, or a registered metric has the name of another one.
    """
    device = rows.tensors.signals.device
    with evaluating(model):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = _reconstruct(model, rows.tensors)
        total, components = objective(output, rows.tensors)
        on_cpu = {name: tensor.float().cpu() for name, tensor in output.items()}
        routing = _routing_metrics(_decoder(model, device, bf16), on_cpu, rows)
    recon_uv = rows.in_uv(on_cpu["recon_signal"].numpy())
    signals_uv = rows.in_uv(rows.part.signals)
    metrics = {
        "validation_loss": float(total),
        "reconstruction_nmse": nmse(recon_uv, signals_uv, rows.part.group),
        **routing,
        "r2": r2(recon_uv, signals_uv),
        "correlation": correlation(recon_uv, signals_uv),
        **_cross_average_metrics(recon_uv, signals_uv, rows.part),
        **_peak_metrics(on_cpu, rows),
        **_latent_metrics(model, on_cpu, components, objective, rows.part),
        "parameters": float(model.n_parameters),
    }
    with evaluating(model):
        registered = registered_metrics(model, rows)
    taken = sorted(registered.keys() & metrics.keys())
    if taken:
        raise UserError(f"register_metric: {', '.join(taken)} is measured already; choose another name")
    return metrics | registered


def learnt_peaks(preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Return which of the peak head's outputs [6] were labelled in some training row."""
    return np.isin(MODEL_WAVES * 2, preprocessing.labelled_waves)


def sampled_peaks(
    model: Model, static: Tensor, preprocessing: Preprocessing, generator: torch.Generator
) -> dict[str, float]:
    """Sample a waveform for each condition [N, S] and return its `peak_placement` as `generated_...`.

    Empty without a peak head.
    """
    sampled = model.sample(static, generator=generator)
    if "generated_peaks" not in sampled:
        return {}
    found = placement_of_predicted(sampled["generated_peaks"].cpu(), sampled["generated_signals"].cpu(), preprocessing)
    return {f"generated_{name}": value for name, value in found.items()}


@torch.no_grad()
def intervals(model: Model, rows: EvaluationPart, units: NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the reconstruction metrics over the units [N]; see `reconstruction_intervals`."""
    with evaluating(model):
        recon = _reconstruct(model, rows.tensors)["recon_signal"].float().cpu().numpy()
    recon_uv = rows.in_uv(recon)
    signals_uv = rows.in_uv(rows.part.signals)
    other_uv = rows.part.independent_averages(signals_uv)
    return reconstruction_intervals(recon_uv, signals_uv, other_uv, rows.part.group, units)


def _reconstruct(model: Model, tensors: PartTensors) -> dict[str, Tensor]:
    """Return the outputs of encoder and decoder for all rows, decoded from the posterior means."""
    outputs = []
    for rows in torch.arange(len(tensors.signals), device=tensors.signals.device).split(ROWS_AT_ONCE):
        part = tensors.take(rows)
        posterior = model.encode(part.signals, part.static)
        means = {f"z_{block}": posterior[f"mu_{block}"] for block in model.latent_dims}
        outputs.append(posterior | model.decode(**means, static_params=part.static))
    return {name: torch.cat([chunk[name] for chunk in outputs]) for name in outputs[0]}


def _decoder(model: Model, device: torch.device, bf16: bool) -> Decode[Tensor]:
    """Return a function from latents and conditions on the CPU to decoded waveforms on the CPU."""

    def decode(z_global: Tensor, z_local: Tensor, static: Tensor, *z_intermediate: Tensor) -> Tensor:
        inputs = [tensor.to(device) for tensor in (z_global, z_local, static, *z_intermediate)]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model.decode(*inputs)["recon_signal"].float().cpu()

    return decode


def _routing_metrics(decode: Decode[Tensor], output: Mapping[str, Tensor], rows: EvaluationPart) -> dict[str, float]:
    """Return the swap-routing score and its components; empty without routing data."""
    if rows.routing is None:
        return {}
    routes = route(
        decode,
        output["mu_global"],
        output["mu_local"],
        rows.tensors.static.cpu(),
        rows.routing,
        reconstructed=output["recon_signal"],
        z_intermediate=output.get("mu_intermediate"),
    )
    values = (routes.signed, routes.selectivity_coarse, routes.selectivity_fine, routes.waveform.global_share)
    return dict(zip(ROUTING_METRICS, values, strict=True))


def _cross_average_metrics(
    recon_uv: NDArray[np.float32], signals_uv: NDArray[np.float32], part: Part
) -> dict[str, float]:
    """Return the errors against independent averages; empty where there are none.

    `denoised_nmse` also needs averages of a reliability of `MIN_RELIABILITY` or more, which no model changes.
    """
    paired = part.is_paired
    if not paired.any():
        return {}
    recon = recon_uv[paired]
    signals = signals_uv[paired]
    other = signals_uv[part.independent[paired]]
    groups = part.group[paired]
    metrics = {"cross_average_nmse": cross_average_nmse(recon, other, groups)}
    if reliability(signals, other, groups).min() >= MIN_RELIABILITY:
        metrics["denoised_nmse"] = denoised_nmse(recon, signals, other, groups)
    return metrics


def _peak_metrics(output: Mapping[str, Tensor], rows: EvaluationPart) -> dict[str, float]:
    """Return the errors and the placement of predicted peaks; empty without a peak head."""
    if "predicted_peaks" not in output:
        return {}
    predicted = output["predicted_peaks"]
    labelled = rows.part.peak_mask & learnt_peaks(rows.preprocessing)
    errors = peak_errors(predicted.numpy(), rows.part.peaks, labelled)
    return errors | placement_of_predicted(predicted, output["recon_signal"], rows.preprocessing)


def _latent_metrics(
    model: Model,
    output: Mapping[str, Tensor],
    components: Mapping[str, Tensor],
    objective: Objective,
    part: Part,
) -> dict[str, float]:
    residual_variance = float(np.mean((output["recon_signal"].numpy() - part.signals) ** 2))
    metrics: dict[str, float] = {}
    for block in model.latent_dims:
        means = output[f"mu_{block}"].numpy()
        metrics |= {
            f"{block}_kl": float(components[f"{block}_kl"]),
            f"{block}_beta": objective.beta(objective.weights[f"{block}_kl"], residual_variance),
            f"{block}_variance": float(np.mean(np.var(means, axis=0))),
            f"{block}_active_units": float(active_units(means)),
        }
    return metrics
