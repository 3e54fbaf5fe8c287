"""The specification's loss components, and their weighted total. Pure functions; none waits for the device.

Legend: B batch, T samples, S static parameters, G global and L local latent dimensions, P peak values.
"""

from collections.abc import Mapping
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from torch import Tensor

from hcvae.errors import UserError
from hcvae.losses.kl import Number, gaussian_kl

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
"""Samples by which `alignment_loss` shifts at most."""
ROWS_AT_ONCE = 512
"""Rows of which `alignment_loss` holds all shifts at once: they stay in the cache, and memory stays bounded."""


def masked_peak_loss(
    predicted: Tensor, target: Tensor, mask: Tensor | None = None, *, n_peaks: Number | None = None
) -> Tensor:
    """Mean absolute error over the labelled peak values: a scalar, 0 (with zero gradients) where none is labelled.

    Args:
        predicted: [B, P], latencies in ms and amplitudes in uV.
        target: [B, P]; NaN where there is no label.
        mask: bool [B, P]; false where the target does not count, whatever it holds.
        n_peaks: the mean's denominator; None: the labelled values of this batch.

    Raises:
        UserError: the shapes differ.
    """
    _check_same_shape("target_peaks", target, "predicted_peaks", predicted)
    missing = target.isnan()
    if mask is not None:
        _check_same_shape("peak_mask", mask, "predicted_peaks", predicted)
        missing = missing | ~mask.bool()
    # Where there is no label the prediction is its own target: error and gradient are 0, and no NaN enters the graph.
    error = (predicted - torch.where(missing, predicted.detach(), target)).abs()
    count = (~missing).sum() if n_peaks is None else n_peaks
    return error.sum() / _one_if_zero(count)


def alignment_loss(reconstruction: Tensor, target: Tensor, max_shift: int = MAX_SHIFT) -> Tensor:
    """Per waveform the smallest mean squared error over shifts of the reconstruction by up to `max_shift` samples.

    The shifted reconstruction [B, T] is padded with zeros and compared with the whole target [B, T]; returns [B]. The
    gradient is that of the best shift.

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
    """The weighted total and its unweighted components, all scalars that carry gradients.

    Args:
        recon_signal: [B, T].
        signals: [B, T].
        recon_static_params: [B, S].
        static_params: [B, S].
        mu_global: [B, G]; so is logvar_global.
        logvar_global: [B, G].
        mu_local: [B, L]; so is logvar_local.
        logvar_local: [B, L].
        predicted_peaks: [B, 6]; None: the peak component is 0.
        target_peaks: [B, 6]; None: likewise.
        peak_mask: bool [B, 6]; see `masked_peak_loss`.
        loss_weights: by component; a component that is not named has the specification's weight. Tensors may change
            under a captured CUDA graph. A KL weight acts as `equivalent_beta` says.
        recon_static_from_latents: [B, S], the output of the head that sees only the latents. It becomes a component
            of its own, `static_from_latents`, with the weight of `static`.
        n_rows: denominator of the means over waveforms; None: B. For data parallel training, where gradients are
            averaged over workers: the global number of rows divided by the number of workers.
        n_peaks: likewise for the labelled peak values.

    Returns:
        The total and the components: `reconstruction` (mean squared error over waveforms and samples), `static` (mean
        squared error), `global_kl` and `local_kl` (nats per waveform), `peak`, `alignment`.

    Raises:
        UserError: shapes differ, or a weight has an unknown name.
    """
    weights = _complete(loss_weights)
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
    total = torch.stack([weights[name] * value for name, value in components.items()]).sum()
    return total, components


def loss_components(
    output: Mapping[str, Tensor],
    signals: Tensor,
    static_params: Tensor,
    target_peaks: Tensor | None,
    peak_mask: Tensor | None,
    *,
    n_rows: Number | None = None,
    n_peaks: Number | None = None,
) -> dict[str, Tensor]:
    """Return the unweighted components for the outputs of a model's `encode` and `decode` together, by their names.

    Targets, denominators and errors are those of `enhanced_hierarchical_cvae_loss`.
    """
    rows = len(signals) if n_rows is None else n_rows
    components = {
        "reconstruction": _mean_error("recon_signal", output, "signals", signals, rows),
        "static": _mean_error("recon_static_params", output, "static_params", static_params, rows),
        "global_kl": gaussian_kl(output["mu_global"], output["logvar_global"]).sum() / rows,
        "local_kl": gaussian_kl(output["mu_local"], output["logvar_local"]).sum() / rows,
    }
    if "predicted_peaks" in output and target_peaks is not None:
        components["peak"] = masked_peak_loss(output["predicted_peaks"], target_peaks, peak_mask, n_peaks=n_peaks)
    else:
        components["peak"] = output["recon_signal"].new_zeros(())
    components["alignment"] = alignment_loss(output["recon_signal"], signals).sum() / rows
    if "recon_static_from_latents" in output:
        components["static_from_latents"] = _mean_error(
            "recon_static_from_latents", output, "static_params", static_params, rows
        )
    return components


def equivalent_beta(weight: float, n_samples: int, residual_variance: float) -> float:
    """The beta of a beta-VAE that a KL weight beside a mean squared error amounts to: w * T / (2 * sigma2).

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


def _mean_error(name: str, output: Mapping[str, Tensor], target_name: str, target: Tensor, rows: Number) -> Tensor:
    """Return the squared error of an output, averaged over its columns and `rows`."""
    _check_same_shape(name, output[name], target_name, target)
    return (output[name] - target).square().mean(dim=1).sum() / rows


def _best_start(padded: Tensor, target: Tensor) -> Tensor:
    blocks = range(0, len(target), ROWS_AT_ONCE)
    return torch.cat([_best_start_of_block(padded[i : i + ROWS_AT_ONCE], target[i : i + ROWS_AT_ONCE]) for i in blocks])


def _best_start_of_block(padded: Tensor, target: Tensor) -> Tensor:
    windows = padded.unfold(1, target.shape[1], 1)  # [B, shifts, T]
    return (windows - target[:, None]).square_().sum(dim=2).argmin(dim=1)


def _one_if_zero(count: Number) -> Number:
    if isinstance(count, Tensor):
        return count.masked_fill(count == 0, 1)
    return count or 1.0


def _complete(weights: Mapping[str, Number] | None) -> dict[str, Number]:
    for name in weights or {}:
        if name not in DEFAULT_WEIGHTS:
            close = get_close_matches(name, DEFAULT_WEIGHTS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the components are {', '.join(DEFAULT_WEIGHTS)}"
            raise UserError(f"loss_weights.{name}: unknown component; {hint}")
    return {**DEFAULT_WEIGHTS, **(weights or {})}


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.shape != other.shape:
        raise UserError(
            f"{name}: the shape must be that of {other_name}, {list(other.shape)}, but got {list(tensor.shape)}"
        )
