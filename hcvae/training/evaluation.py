"""Both search objectives and their companions, on one part of the split.

Legend: N waveforms, T samples, S static parameters, G global and L local latent dimensions.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.data.dataset import MODEL_WAVES, Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.metrics.bootstrap import reconstruction_intervals
from hcvae.metrics.decoding import Decode
from hcvae.metrics.latent_use import active_units
from hcvae.metrics.reconstruction import correlation, cross_average_nmse, nmse, peak_errors, r2
from hcvae.metrics.routing_data import RoutingData
from hcvae.metrics.swap_routing import route
from hcvae.models import Model
from hcvae.models.base import evaluating
from hcvae.peaks import placement
from hcvae.training.objective import Objective
from hcvae.training.tensors import PartTensors

ROWS_AT_ONCE = 4096


@torch.no_grad()
def evaluate(
    model: Model,
    part: Part,
    tensors: PartTensors,
    preprocessing: Preprocessing,
    objective: Objective,
    routing: RoutingData | None,
    bf16: bool = False,
) -> dict[str, float]:
    """Measure `model` on `part` from posterior means, in eval mode, with `bf16` its networks under autocast.

    `routing` is the result of `hcvae.readiness.routing_data` for `part`; with None, disentanglement and the
    metrics that belong to it are left out.

    Returns `reconstruction_nmse` and `disentanglement` (the search's objectives), `validation_loss` (of
    `objective`, with the weights of the last phase, without what exchanged latents or draws add), `r2`, `correlation`,
    `film_effect` (the share of z_global in what exchanged latents do to the decoded waveform); for each latent block
    its KL divergence in nats per waveform, the beta that the weight amounts to, the variance of the means and the
    active units; `cross_average_nmse` and per-wave peak errors where the part has independent averages and labels;
    `peak_placement` of the reconstructions.

    Raises:
        UserError: the waveforms of the part do not differ.
    """
    was_training = model.training
    model.eval()
    device = tensors.signals.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        output = _reconstruct(model, tensors)
    total, components = objective(output, tensors)
    arrays = {key: value.float().cpu().numpy() for key, value in output.items()}

    def decode(z_global: Tensor, z_local: Tensor, static: Tensor, *z_intermediate: Tensor) -> Tensor:
        inputs = (tensor.to(device) for tensor in (z_global, z_local, static, *z_intermediate))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model.decode(*inputs)["recon_signal"].float().cpu()

    routed = {} if routing is None else _routed(decode, output, tensors, routing)
    model.train(was_training)

    signal_uv = preprocessing.signal.denormalize(part.signals, part.group)
    recon_uv = preprocessing.signal.denormalize(arrays["recon_signal"], part.group)
    metrics = {
        "validation_loss": float(total),
        "reconstruction_nmse": nmse(recon_uv, signal_uv, part.group),
        **routed,
        "r2": r2(recon_uv, signal_uv),
        "correlation": correlation(recon_uv, signal_uv),
    }
    paired = part.independent >= 0
    if paired.any():
        metrics["cross_average_nmse"] = cross_average_nmse(
            recon_uv[paired], signal_uv[part.independent[paired]], part.group[paired]
        )
    if "predicted_peaks" in arrays:
        metrics |= peak_errors(arrays["predicted_peaks"], part.peaks, part.peak_mask & learnt_peaks(preprocessing))
        metrics |= placement(
            output["predicted_peaks"].float().cpu(), output["recon_signal"].float().cpu(), preprocessing
        )
    residual_variance = float(np.mean((arrays["recon_signal"] - part.signals) ** 2))
    for block in model.latent_dims:
        means = arrays[f"mu_{block}"]
        metrics |= {
            f"{block}_kl": float(components[f"{block}_kl"]),
            f"{block}_beta": objective.beta(objective.weights[f"{block}_kl"], residual_variance),
            f"{block}_variance": float(np.mean(np.var(means, axis=0))),
            f"{block}_active_units": float(active_units(means)),
        }
    return metrics


def learnt_peaks(preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Which of the peak head's outputs [6] were labelled in some training row."""
    return np.isin(MODEL_WAVES * 2, preprocessing.labelled_waves)


def sampled_peaks(
    model: Model, static: Tensor, preprocessing: Preprocessing, generator: torch.Generator
) -> dict[str, float]:
    """`peak_placement` of a waveform drawn for each condition [N, S], as `generated_...`; empty without a peak head."""
    drawn = model.sample(static, generator=generator)
    if "generated_peaks" not in drawn:
        return {}
    found = placement(drawn["generated_peaks"].cpu(), drawn["generated_signals"].cpu(), preprocessing)
    return {f"generated_{name}": value for name, value in found.items()}


def _routed(
    decode: Decode[Tensor], output: Mapping[str, Tensor], tensors: PartTensors, routing: RoutingData
) -> dict[str, float]:
    """The swap-routing score, and what it is made of."""
    routes = route(
        decode,
        output["mu_global"].float().cpu(),
        output["mu_local"].float().cpu(),
        tensors.static.cpu(),
        routing,
        reconstructed=output["recon_signal"].float().cpu(),
        z_intermediate=output["mu_intermediate"].float().cpu() if "mu_intermediate" in output else None,
    )
    return {
        "disentanglement": routes.signed,
        "selectivity_coarse": routes.selectivity_coarse,
        "selectivity_fine": routes.selectivity_fine,
        "film_effect": routes.waveform.global_share,
    }


@torch.no_grad()
def intervals(
    model: Model, part: Part, tensors: PartTensors, preprocessing: Preprocessing, units: NDArray[np.int64]
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the reconstruction metrics of `evaluate` over the units [N], see `reconstruction_intervals`."""
    with evaluating(model):
        recon = _reconstruct(model, tensors)["recon_signal"].float().cpu().numpy()
    recon_uv, signal_uv = (preprocessing.signal.denormalize(values, part.group) for values in (recon, part.signals))
    other_uv = np.where((part.independent >= 0)[:, None], signal_uv[part.independent], np.nan)
    return reconstruction_intervals(recon_uv, signal_uv, other_uv, part.group, units)


def _reconstruct(model: Model, tensors: PartTensors) -> dict[str, Tensor]:
    """The outputs of encoder and decoder for all rows, from posterior means."""
    outputs = []
    for rows in torch.arange(len(tensors.signals), device=tensors.signals.device).split(ROWS_AT_ONCE):
        part = tensors.take(rows)
        posterior = model.encode(part.signals, part.static)
        means = {f"z_{block}": posterior[f"mu_{block}"] for block in model.latent_dims}
        outputs.append(posterior | model.decode(**means, static_params=part.static))
    return {key: torch.cat([chunk[key] for chunk in outputs]) for key in outputs[0]}
