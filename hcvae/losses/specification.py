"""The specification's loss components and their weighted total, as pure functions that never wait for the device.

Shapes: B batch, T samples, S static parameters, G global and L local latent dimensions, P peak values.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from hcvae.errors import UserError
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
MAX_SHIFT = 10
"""Largest shift of `alignment_loss`, in samples."""
ROWS_AT_ONCE = 512
"""Rows whose shifts `alignment_loss` computes together: they fit in the cache, and memory stays bounded."""


def masked_peak_loss(
    predicted: Tensor, target: Tensor, mask: Tensor | None = None, *, n_peaks: Number | None = None
) -> Tensor:
    """Return the mean absolute error over the labelled peak values, a scalar; 0 with zero gradients if there are none.

    Args:
        predicted: [B, P], latencies in ms and amplitudes in uV.
        target: [B, P]; NaN where there is no label.
        mask: bool [B, P]; false where the target is to be ignored.
        n_peaks: denominator of the mean; None: the number of labelled values in this batch.

    Raises:
        UserError: the shapes differ.
    """
    _check_same_shape("target_peaks", target, "predicted_peaks", predicted)
    missing = target.isnan()
    if mask is not None:
        _check_same_shape("peak_mask", mask, "predicted_peaks", predicted)
        missing = missing | ~mask.bool()
    # Without a label the prediction is its own target: error and gradient are 0, and no NaN enters the graph.
    error = (predicted - torch.where(missing, predicted.detach(), target)).abs()
    count = (~missing).sum() if n_peaks is None else n_peaks
    return error.sum() / _one_if_zero(count)


def alignment_loss(reconstruction: Tensor, target: Tensor, max_shift: int = MAX_SHIFT) -> Tensor:
    """Return the smallest mean squared error of each waveform over shifts by up to `max_shift` samples, [B].

    The shifted reconstruction [B, T] is padded with zeros and compared with the whole target [B, T]. The gradient is
    that of the best shift.

    Raises:
        UserError: the shapes differ.
    """
    _check_same_shape("recon_signal", reconstruction, "signals", target)
    padded = F.pad(reconstruction, (max_shift, max_shift))  # [B, T + 2 max_shift]
    start = _best_start(padded.detach(), target.detach())
    samples = start[:, None] + torch.arange(target.shape[1], device=target.device)
    return (padded.gather(1, samples) - target).square().mean(dim=1)


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
        n_rows: denominator of the means over waveforms; None: B. For data-parallel training, where gradients are
            averaged over workers: the global number of rows divided by the number of workers.
        n_peaks: likewise for the labelled peak values.

    Returns:
        The total and the components: `reconstruction` (mean squared error over waveforms and samples), `static` (mean
        squared error), `global_kl` and `local_kl` (nats per waveform), `peak`, `alignment`.

    Raises:
        UserError: shapes differ, or a weight has an unknown name.
    """
    weights = _all_weights(loss_weights)
    rows = recon_signal.shape[0] if n_rows is None else n_rows
    _check_same_shape("recon_signal", recon_signal, "signals", signals)
    _check_same_shape("recon_static_params", recon_static_params, "static_params", static_params)
    peak = recon_signal.new_zeros(())
    if predicted_peaks is not None and target_peaks is not None:
        peak = masked_peak_loss(predicted_peaks, target_peaks, peak_mask, n_peaks=n_peaks)
    components = {
        "reconstruction": _row_squared_error(recon_signal, signals).sum() / rows,
        "static": _row_squared_error(recon_static_params, static_params).sum() / rows,
        "global_kl": gaussian_kl(mu_global, logvar_global).sum() / rows,
        "local_kl": gaussian_kl(mu_local, logvar_local).sum() / rows,
        "peak": peak,
        "alignment": alignment_loss(recon_signal, signals).sum() / rows,
    }
    if recon_static_from_latents is not None:
        _check_same_shape("recon_static_from_latents", recon_static_from_latents, "static_params", static_params)
        error = _row_squared_error(recon_static_from_latents, static_params)
        components["static_from_latents"] = error.sum() / rows
        weights["static_from_latents"] = weights["static"]
    total = torch.stack([weights[name] * value for name, value in components.items()]).sum()
    return total, components


def hierarchical_kl_loss(
    mu_global: Tensor,
    logvar_global: Tensor,
    mu_local: Tensor,
    logvar_local: Tensor,
    global_kl_weight: Number = 1.0,
    local_kl_weight: Number = 1.0,
) -> Tensor:
    """Return the weighted sum of the KL divergences of both latents, [B, G] and [B, L], from N(0, 1): [B], in nats.

    The specification names this function. This product does not call it: `enhanced_hierarchical_cvae_loss` weights the
    two divergences as separate components.
    """
    global_kl = gaussian_kl(mu_global, logvar_global)
    local_kl = gaussian_kl(mu_local, logvar_local)
    return global_kl_weight * global_kl + local_kl_weight * local_kl


def equivalent_beta(weight: float, n_samples: int, residual_variance: float) -> float:
    """Return the beta of a beta-VAE equivalent to a KL weight beside a mean squared error, w * T / (2 * sigma2).

    The Gaussian log-likelihood of T samples is T / (2 sigma2) times their mean squared error, so `MSE + w * KL` is
    proportional to `-log p + beta * KL` with this beta. Higgins et al. 2017, "beta-VAE", ICLR.

    Args:
        weight: the KL weight w, with a reconstruction weight of 1.
        n_samples: samples T in a waveform.
        residual_variance: mean squared error sigma2 of the reconstruction, in the units of the loss.

    Raises:
        UserError: the residual variance is not above 0.
    """
    if not residual_variance > 0:
        raise UserError(f"residual_variance: must be above 0, but got {residual_variance!r}")
    return weight * n_samples / (2 * residual_variance)


def _row_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of each row, [B]."""
    return (value - target).square().mean(dim=1)


def _best_start(padded: Tensor, target: Tensor) -> Tensor:
    """Return where in the padded reconstruction [B, T + 2 max_shift] the window closest to the target starts, [B]."""
    starts = []
    for first in range(0, len(target), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        windows = padded[rows].unfold(1, target.shape[1], 1)  # [B, shifts, T]
        starts.append((windows - target[rows, None]).square_().sum(dim=2).argmin(dim=1))
    return torch.cat(starts)


def _one_if_zero(count: Number) -> Number:
    if isinstance(count, Tensor):
        return count.masked_fill(count == 0, 1)
    return count or 1.0


def _all_weights(weights: Mapping[str, Number] | None) -> dict[str, Number]:
    """Return the weights with the specification's for missing components."""
    weights = weights or {}
    for name in weights:
        if name not in DEFAULT_WEIGHTS:
            raise UserError(f"loss_weights.{name}: unknown component{did_you_mean(name, list(DEFAULT_WEIGHTS))}")
    return {**DEFAULT_WEIGHTS, **weights}


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.shape != other.shape:
        raise UserError(
            f"{name}: the shape must be that of {other_name}, {list(other.shape)}, but got {list(tensor.shape)}"
        )
