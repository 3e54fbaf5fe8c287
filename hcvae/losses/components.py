"""The components of the loss, as pure functions that never wait for the device.

Shapes: B batch, T samples, S static parameters, G global and L local latent dimensions, P peak values.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from hcvae.errors import UserError
from hcvae.losses.kl import Number, gaussian_kl

MAX_SHIFT = 10
"""Largest shift of `alignment_loss`, in samples."""
ROWS_AT_ONCE = 512
"""Rows whose shifts `alignment_loss` computes together: they fit in the cache, and memory stays bounded."""


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
    """Return the unweighted components of the loss, scalars that carry gradients.

    Args:
        output: what `encode` and `decode` return together: recon_signal [B, T], recon_static_params [B, S], mu_global,
            logvar_global [B, G], mu_local, logvar_local [B, L]; predicted_peaks [B, 6] with a peak head;
            recon_static_from_latents [B, S] with the head on the latents.
        signals: targets, [B, T].
        static_params: targets, [B, S].
        target_peaks: [B, 6]; None: the peak component is 0, as without a peak head.
        peak_mask: bool [B, 6]; see `masked_peak_loss`.
        n_rows: denominator of the means over waveforms; None: B. For data-parallel training, where gradients are
            averaged over workers: the global number of rows divided by the number of workers.
        n_peaks: likewise for the labelled peak values.

    Returns:
        `reconstruction` (mean squared error over waveforms and samples), `static` (mean squared error), `global_kl` and
        `local_kl` (nats per waveform), `peak`, `alignment`; with the head on the latents also `static_from_latents`.

    Raises:
        UserError: shapes differ.
    """
    rows = signals.shape[0] if n_rows is None else n_rows
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


def _mean_error(name: str, output: Mapping[str, Tensor], target_name: str, target: Tensor, rows: Number) -> Tensor:
    """Return the squared error of an output, averaged over its columns and `rows`."""
    _check_same_shape(name, output[name], target_name, target)
    return (output[name] - target).square().mean(dim=1).sum() / rows


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


def _check_same_shape(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.shape != other.shape:
        raise UserError(
            f"{name}: the shape must be that of {other_name}, {list(other.shape)}, but got {list(tensor.shape)}"
        )
