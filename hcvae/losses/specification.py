"""The loss functions that the specification names and no code of this product calls.

The training weights the components of `hcvae.losses.loss_components` itself.

Shapes: B batch, T samples, S static parameters, G global and L local latent dimensions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from hcvae.errors import UserError
from hcvae.losses.components import loss_components
from hcvae.losses.kl import Number, gaussian_kl
from hcvae.suggest import did_you_mean

DEFAULT_WEIGHTS: dict[str, float] = {
    "reconstruction": 1.0,
    "static": 1.0,
    "global_kl": 0.01,
    "local_kl": 0.01,
    "peak": 1.0,
    "alignment": 0.1,
}
"""The specification's weights."""


def enhanced_hierarchical_cvae_loss(
    recon_signal: Tensor,
    signals: Tensor,
    recon_static_params: Tensor,
    static_params: Tensor,
    mu_global: Tensor,
    logvar_global: Tensor,
    mu_local: Tensor,
    logvar_local: Tensor,
    predicted_peaks: Tensor | None = None,
    target_peaks: Tensor | None = None,
    peak_mask: Tensor | None = None,
    loss_weights: Mapping[str, Number] | None = None,
    *,
    recon_static_from_latents: Tensor | None = None,
    n_rows: Number | None = None,
    n_peaks: Number | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted total and its unweighted components, all scalars that carry gradients.

    Args:
        recon_signal: [B, T].
        signals: [B, T].
        recon_static_params: [B, S].
        static_params: [B, S].
        mu_global: [B, G].
        logvar_global: [B, G].
        mu_local: [B, L].
        logvar_local: [B, L].
        predicted_peaks: [B, 6]; None: the peak component is 0.
        target_peaks: [B, 6]; None: likewise.
        peak_mask: bool [B, 6]; see `masked_peak_loss`.
        loss_weights: by component; missing components have the specification's weight. Tensors may change under a
            captured CUDA graph. For the effect of a KL weight see `equivalent_beta`.
        recon_static_from_latents: [B, S], from the head that sees only the latents. It is a component of its own,
            `static_from_latents`, with the weight of `static`.
        n_rows: denominator of the means over waveforms, see `loss_components`.
        n_peaks: denominator of the mean over labelled peak values, see `loss_components`.

    Returns:
        The total, and the components of `loss_components`.

    Raises:
        UserError: shapes differ, or a weight has an unknown name.
    """
    weights = _all_weights(loss_weights)
    output = {
        "recon_signal": recon_signal,
        "recon_static_params": recon_static_params,
        "mu_global": mu_global,
        "logvar_global": logvar_global,
        "mu_local": mu_local,
        "logvar_local": logvar_local,
    }
    if predicted_peaks is not None:
        output["predicted_peaks"] = predicted_peaks
    if recon_static_from_latents is not None:
        output["recon_static_from_latents"] = recon_static_from_latents
        weights["static_from_latents"] = weights["static"]
    components = loss_components(
        output, signals, static_params, target_peaks, peak_mask, n_rows=n_rows, n_peaks=n_peaks
    )
    weighted = [weights[name] * value for name, value in components.items()]
    return torch.stack(weighted).sum(), components


def hierarchical_kl_loss(
    mu_global: Tensor,
    logvar_global: Tensor,
    mu_local: Tensor,
    logvar_local: Tensor,
    global_kl_weight: Number = 1.0,
    local_kl_weight: Number = 1.0,
) -> Tensor:
    """Return the weighted sum of the KL divergences of both latents, [B, G] and [B, L], from N(0, 1): [B], in nats."""
    global_kl = gaussian_kl(mu_global, logvar_global)
    local_kl = gaussian_kl(mu_local, logvar_local)
    return global_kl_weight * global_kl + local_kl_weight * local_kl


def _all_weights(weights: Mapping[str, Number] | None) -> dict[str, Number]:
    """Return the weights with the specification's for missing components."""
    weights = weights or {}
    for name in weights:
        if name not in DEFAULT_WEIGHTS:
            raise UserError(f"loss_weights.{name}: unknown component{did_you_mean(name, list(DEFAULT_WEIGHTS))}")
    return {**DEFAULT_WEIGHTS, **weights}
