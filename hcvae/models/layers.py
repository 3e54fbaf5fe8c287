"""Building blocks of the networks: hidden layers, normalisation, dropout, output heads, Gaussian heads, FiLM.

Shapes: B batch, F features of a layer, D dimensions of a latent.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcvae.errors import UserError

MIN_WIDTH = 8
"""Smallest number of features of a scaled hidden layer."""
LOGVAR_LIMIT = 12.0
"""Bound of the log-variances: standard deviations from 0.0025 to 403 times the prior's. Useful latents stay inside (at
the lower end a dimension already costs 5.5 nats), and exp(12) is far from overflow in fp32 and bf16."""
MAX_LEVELS = 2
"""Largest number of latent levels between the global and the local one."""
FILM_INITIAL_SCALE = 0.3
"""Scale of FiLM's output weights: gamma - 1 and beta start with a standard deviation of about 0.1."""


def check_arguments(*, width: float = 1.0, dropout: float = 0.0, intermediate_levels: int = 0, **sizes: int) -> None:
    """Check that the arguments of a network are in range.

    Raises:
        UserError: a dimension below 1, a width that is not positive, a dropout outside [0, 1), or too many levels.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UserError(f"{name}: must be a whole number of at least 1, but got {size!r}")
    if not width > 0:
        raise UserError(f"width: must be above 0, but got {width!r}; 1.0 is the specification's model")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout: must be at least 0 and below 1, but got {dropout!r}")
    if intermediate_levels not in range(MAX_LEVELS + 1):
        raise UserError(
            f"intermediate_levels: must be a whole number from 0 to {MAX_LEVELS}, but got {intermediate_levels!r}"
        )


def check_columns(name: str, tensor: Tensor, columns: int) -> None:
    """Check that a tensor is [rows, columns].

    Raises:
        UserError: it has another shape.
    """
    if tensor.ndim != 2 or tensor.shape[1] != columns:
        raise UserError(f"{name}: the shape must be [rows, {columns}], but got {list(tensor.shape)}")


def scaled(features: int, width: float) -> int:
    """Return the hidden features scaled by `width`, at least `MIN_WIDTH`."""
    return max(MIN_WIDTH, round(features * width))


def scaled_widths(hidden: Sequence[int], width: float) -> list[int]:
    """Return the `scaled` features of several hidden layers."""
    return [scaled(features, width) for features in hidden]


def full_precision(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 if autocast has made it a narrower type, otherwise unchanged."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, F] that normalises a batch of one by the running statistics.

    One row has no variance: in train mode PyTorch raises an error, so that the last, partial batch of an epoch could
    end the training. Ioffe & Szegedy 2015, "Batch Normalization", ICML.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, F]."""
        if self.training and input.shape[0] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class Dropout(nn.Dropout):
    """Dropout that on the CPU samples 16 bits for each feature, four features from one random integer.

    PyTorch samples a double for each, on one thread, which takes an eighth of a bf16 step of 512 rows. The rate is
    rounded to a multiple of 2^-16. A compiled step samples as PyTorch does. Srivastava et al. 2014, "Dropout", JMLR.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop features of [B, F] and scale the rest up in train mode; otherwise return the input itself."""
        threshold = round(self.p * 2**16)
        if not self.training or threshold == 0 or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        random_bits = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = random_bits.view(torch.int16)[: input.numel()].view_as(input) >= threshold - 2**15
        return input * (kept.to(input.dtype) * (2**16 / (2**16 - threshold)))


def normalization(features: int, batch_norm: bool) -> nn.Module:
    """Return batch normalisation, or the identity."""
    if batch_norm:
        return BatchNorm(features)
    return nn.Identity()


def encoder_layers(inputs: int, hidden: Sequence[int], dropout: float, batch_norm: bool) -> nn.Sequential:
    """Return Linear, ReLU, BatchNorm and Dropout for each of the `hidden` widths."""
    layers: list[nn.Module] = []
    for features in hidden:
        layers += [nn.Linear(inputs, features), nn.ReLU(), normalization(features, batch_norm), Dropout(dropout)]
        inputs = features
    return nn.Sequential(*layers)


def decoder_layer(inputs: int, features: int, batch_norm: bool) -> nn.Sequential:
    """Return Linear, BatchNorm and LeakyReLU(0.2)."""
    return nn.Sequential(nn.Linear(inputs, features), normalization(features, batch_norm), nn.LeakyReLU(0.2))


def decoder_layers(inputs: int, hidden: Sequence[int], batch_norm: bool) -> list[nn.Sequential]:
    """Return one `decoder_layer` for each of the `hidden` widths."""
    return [decoder_layer(before, after, batch_norm) for before, after in pairwise([inputs, *hidden])]


def output_head(inputs: int, hidden: Sequence[int], outputs: int, batch_norm: bool) -> nn.Sequential:
    """Return decoder layers of the `hidden` widths, one or more, and a linear output."""
    return nn.Sequential(*decoder_layers(inputs, hidden, batch_norm), nn.Linear(hidden[-1], outputs))


class GaussianHead(nn.Module):
    """Mean and log-variance of a diagonal Gaussian, each a linear map of the features."""

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Linear(features, latent_dim)
        self.logvar = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu [B, D], logvar [B, D]) of features [B, F], logvar within +-`LOGVAR_LIMIT`."""
        mu: Tensor = self.mu(features)
        logvar: Tensor = self.logvar(features)
        return full_precision(mu), _clamp_passing_gradient(full_precision(logvar), LOGVAR_LIMIT)


def _clamp_passing_gradient(tensor: Tensor, limit: float) -> Tensor:
    # A plain clamp has no gradient beyond its limits, so the KL divergence could not pull a runaway value back.
    return tensor.clamp(-limit, limit).detach() + (tensor - tensor.detach())


def init_small(layer: nn.Linear, std: float) -> None:
    """Sample the weights from a normal distribution, and set the bias to 0."""
    if not layer.weight.is_meta:  # on meta tensors it would only import torch's compiler, a second for each `load`
        nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)


class FiLM(nn.Module):
    """Feature-wise linear modulation: gamma(z) * h + beta(z), each of the two from a network D -> hidden -> F.

    The first layers of both networks are stacked in one matrix, for a single product. The output layers start small,
    not at zero: at the exact identity z has no influence, and no gradient reaches it.
    Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI.
    """

    def __init__(self, latent_dim: int, features: int, hidden: int = 64) -> None:
        super().__init__()
        self.hidden = nn.Linear(latent_dim, 2 * hidden)
        self.gamma = nn.Linear(hidden, features)
        self.beta = nn.Linear(hidden, features)
        for layer in (self.gamma, self.beta):
            init_small(layer, FILM_INITIAL_SCALE / hidden**0.5)

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Modulate features [..., F] by the latent z [..., D]; z [B, 1, D] modulates all rows of [B, N, F] alike."""
        for_gamma, for_beta = F.relu(self.hidden(z)).chunk(2, dim=-1)
        return torch.addcmul(self.beta(for_beta) + features, features, self.gamma(for_gamma))
