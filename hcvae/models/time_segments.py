"""One local latent for each time segment of a waveform, and the windows that join the segments' outputs.

Shapes: B batch, T samples, N segments, L local latent dimensions of all segments together, F features.
"""

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.layers import check_arguments

OVERLAP = 0.5
"""Length of a crossfade, as a share of the T / N samples from one segment's start to the next; at most 1."""


def segment_windows(n_segments: int, signal_length: int) -> Tensor:
    """Return windows [N, T] that sum to 1, for segments of equal length with raised-cosine crossfades between them.

    They are tapered cosine (Tukey) windows, flat towards both ends of the waveform, and exactly 0 beyond half a
    crossfade outside a segment. Harris 1978, "On the use of windows for harmonic analysis", Proc. IEEE 66.
    """
    position = (torch.arange(signal_length, dtype=torch.float64) + 0.5) * n_segments / signal_length  # in segments
    boundaries = torch.arange(1, n_segments, dtype=torch.float64)
    phase = ((position - boundaries[:, None]) / OVERLAP + 0.5).clamp(0, 1)
    rises = 0.5 - 0.5 * torch.cos(torch.pi * phase)  # [N - 1, T]: 0 before each boundary, 1 after it
    ones = torch.ones(1, signal_length)
    zeros = torch.zeros(1, signal_length)
    return (torch.cat([ones, rises]) - torch.cat([rises, zeros])).to(torch.get_default_dtype())


class TimeSegments(nn.Module):
    """z_local divided into one latent for each of N overlapping time segments, the earliest first.

    The decoder runs once for each segment, in a row of its own: row b * N + s is segment s of waveform b. Its output
    counts only under window s, so that this part of z_local changes no other sample.

    Raises:
        UserError: fewer than 1 segment, more segments than samples, or L is not a multiple of N.
    """

    windows: Tensor

    def __init__(self, n_segments: int, signal_length: int, local_latent_dim: int) -> None:
        super().__init__()
        check_arguments(local_segments=n_segments)
        if n_segments > signal_length:
            raise UserError(
                f"local_segments: must be at most the {signal_length} samples of a waveform, but got {n_segments}"
            )
        if local_latent_dim % n_segments:
            raise UserError(
                f"local_latent_dim: must be a multiple of local_segments ({n_segments}), but got {local_latent_dim}; "
                f"{-(-local_latent_dim // n_segments) * n_segments} would be right"
            )
        self.n_segments = n_segments
        self.inputs = local_latent_dim // n_segments + n_segments
        """Number of columns that `split` returns."""
        self.register_buffer("windows", segment_windows(n_segments, signal_length))

    def split(self, z_local: Tensor) -> Tensor:
        """Return the latent of each segment of z_local [B, L] and its one-hot number, [B * N, L / N + N]."""
        latents = z_local.reshape(-1, self.inputs - self.n_segments)
        one_hot = torch.eye(self.n_segments, dtype=z_local.dtype, device=z_local.device)
        return torch.cat([latents, one_hot.repeat(z_local.shape[0], 1)], dim=1)

    def for_each(self, values: Tensor) -> Tensor:
        """Repeat each row of values [B, F] for every segment, [B * N, F]."""
        return values.repeat_interleave(self.n_segments, dim=0)

    def join(self, signals: Tensor) -> Tensor:
        """Sum the segments' outputs [B * N, T] under their windows to waveforms [B, T]."""
        return (signals.reshape(-1, *self.windows.shape) * self.windows).sum(dim=1)

    def by_waveform(self, features: Tensor) -> Tensor:
        """Return features [B * N, F] as [B, N, F]."""
        return features.reshape(-1, self.n_segments, features.shape[1])

    def mean(self, features: Tensor) -> Tensor:
        """Average features [B * N, F] over the segments of each waveform, [B, F]."""
        return self.by_waveform(features).mean(dim=1)
