"""Both search objectives and their companions, on one part of the split.

Legend: N waveforms, T samples, S static parameters, G global and L local latent dimensions.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hcvae.data.dataset import Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.losses import enhanced_hierarchical_cvae_loss, equivalent_beta
from hcvae.metrics.latent_use import active_units
from hcvae.metrics.reconstruction import correlation, cross_average_nmse, nmse, peak_errors, r2
from hcvae.metrics.swap_routing import swap_routing_score
from hcvae.models import Model

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class PartTensors:
    """A part of the split as tensors on one device; shares the arrays' memory on the CPU."""

    signals: torch.Tensor
    static: torch.Tensor
    peaks: torch.Tensor
    peak_mask: torch.Tensor

    @classmethod
    def of(cls, part: Part, device: torch.device) -> "PartTensors":
        """The tensors of `part`."""
        return cls(*(_tensor(array, device) for array in (part.signals, part.static, part.peaks, part.peak_mask)))


@torch.no_grad()
def evaluate(
    model: Model, part: Part, tensors: PartTensors, preprocessing: Preprocessing, weights: Mapping[str, float]
) -> dict[str, float]:
    """Measure `model` on `part` from posterior means, in eval mode.

    Returns `reconstruction_nmse` and `disentanglement` (the search's objectives), `validation_loss` (the weighted
    loss with `weights`, those of the last phase), `r2`, `correlation`, KL divergences in nats per waveform with the
    beta that their weights amount to, variances of the means and active units; `cross_average_nmse` and per-wave peak
    errors where the part has independent averages and labels.

    Raises:
        UserError: the part is too small, or too uniform, to score disentanglement.
    """
    was_training = model.training
    model.eval()
    outputs = [_reconstruct(model, tensors, rows) for rows in torch.arange(len(part)).split(ROWS_AT_ONCE)]
    output = {key: torch.cat([chunk[key] for chunk in outputs]) for key in outputs[0]}
    total, components = enhanced_hierarchical_cvae_loss(
        output["recon_signal"],
        tensors.signals,
        output["recon_static_params"],
        tensors.static,
        output["mu_global"],
        output["logvar_global"],
        output["mu_local"],
        output["logvar_local"],
        output.get("predicted_peaks"),
        tensors.peaks,
        tensors.peak_mask,
        loss_weights=weights,
        recon_static_from_latents=output.get("recon_static_from_latents"),
    )
    arrays = {key: value.float().cpu().numpy() for key, value in output.items()}
    paired = part.independent >= 0
    independent = np.where(paired[:, None], part.signals[part.independent], np.nan) if paired.any() else None
    device = tensors.signals.device
    routing = swap_routing_score(
        lambda *inputs: model.decode(*(tensor.to(device) for tensor in inputs))["recon_signal"].float().cpu(),
        output["mu_global"].float().cpu(),
        output["mu_local"].float().cpu(),
        tensors.static.cpu(),
        part.signals,
        independent_signals=independent,
        sampling_rate_hz=preprocessing.sampling_rate_hz,
    )
    model.train(was_training)

    signal_uv = preprocessing.signal.denormalize(part.signals, part.group)
    recon_uv = preprocessing.signal.denormalize(arrays["recon_signal"], part.group)
    metrics = {
        "validation_loss": float(total),
        "reconstruction_nmse": nmse(recon_uv, signal_uv, part.group),
        "disentanglement": routing.signed,
        "selectivity_coarse": routing.selectivity_coarse,
        "selectivity_fine": routing.selectivity_fine,
        "r2": r2(recon_uv, signal_uv),
        "correlation": correlation(recon_uv, signal_uv),
    }
    if independent is not None:
        metrics["cross_average_nmse"] = cross_average_nmse(
            recon_uv[paired], signal_uv[part.independent[paired]], part.group[paired]
        )
    if "predicted_peaks" in arrays:
        metrics |= peak_errors(arrays["predicted_peaks"], part.peaks, part.peak_mask)
    residual_variance = float(np.mean((arrays["recon_signal"] - part.signals) ** 2))
    for level in ("global", "local"):
        means = arrays[f"mu_{level}"]
        metrics |= {
            f"{level}_kl": float(components[f"{level}_kl"]),
            f"{level}_beta": equivalent_beta(weights[f"{level}_kl"], part.signals.shape[1], residual_variance),
            f"{level}_variance": float(np.mean(np.var(means, axis=0))),
            f"{level}_active_units": float(active_units(means)),
        }
    return metrics


def _reconstruct(model: Model, tensors: PartTensors, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = rows.to(tensors.signals.device)
    static = tensors.static[rows]
    posterior = model.encode(tensors.signals[rows], static)
    return posterior | model.decode(posterior["mu_global"], posterior["mu_local"], static)


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    # Ray shares arrays read-only; torch warns that it cannot mark them so, and nothing here writes to them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
