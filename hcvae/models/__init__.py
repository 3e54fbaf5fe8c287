"""The networks: `HierarchicalCVAE`, the baseline `StandardCVAE`, and `build`, which makes one of a `ModelConfig`."""

import torch

from hcvae.config import ModelConfig
from hcvae.errors import UserError
from hcvae.models.base import Model
from hcvae.models.baseline import StandardCVAE
from hcvae.models.cvae import HierarchicalCVAE

__all__ = ["MAX_WEIGHTS", "HierarchicalCVAE", "Model", "StandardCVAE", "build", "outline"]

MAX_WEIGHTS = 192 * 2**20
"""Largest number of weights in a model, 768 MiB: loading one takes less than 1 GB in addition to Python and PyTorch.
The specification's model has 10.6 million, and the widest possible, four times as wide, 159 million."""

STANDARD_FIELDS = (
    "signal_length",
    "static_dim",
    "global_latent_dim",
    "local_latent_dim",
    "width",
    "dropout",
    "batch_norm",
    "static_from_latents",
)
"""The fields of `ModelConfig` that apply to a standard model: it has no peak head, no FiLM and no early segment."""


def build(config: ModelConfig) -> HierarchicalCVAE | StandardCVAE:
    """Return the untrained network that `config` describes.

    The fields of `ModelConfig` are the arguments of `HierarchicalCVAE`, and those in `STANDARD_FIELDS` the arguments of
    `StandardCVAE`.

    Raises:
        UserError: `config.static_dim` is null, or a value is out of range.
    """
    if config.static_dim is None:
        raise UserError(
            "model.static_dim: must be a number to build a network, but got null; resolve it from the encoded columns"
        )
    arguments = dict(config)
    if arguments.pop("model_type") == "standard":
        return StandardCVAE(**{name: arguments[name] for name in STANDARD_FIELDS})
    return HierarchicalCVAE(**arguments)


def outline(config: ModelConfig) -> HierarchicalCVAE | StandardCVAE:
    """Return the network that `config` describes on PyTorch's meta device: its shapes, without memory.

    Raises:
        UserError: as for `build`, or the network has more than `MAX_WEIGHTS` weights.
    """
    with torch.device("meta"):
        model = build(config)
    weights = sum(tensor.numel() for tensor in model.state_dict().values())
    if weights > MAX_WEIGHTS:
        raise UserError(
            f"model: must have at most {MAX_WEIGHTS:,} weights, but got {weights:,}; "
            "choose a smaller signal_length, width or latent"
        )
    return model
