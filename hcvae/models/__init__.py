"""The networks: `HierarchicalCVAE`, the baseline `StandardCVAE`, and `build`, which makes one from a configuration."""

import torch

from hcvae.config import ModelConfig
from hcvae.errors import UserError
from hcvae.models.base import Model
from hcvae.models.baseline import StandardCVAE
from hcvae.models.cvae import HierarchicalCVAE

__all__ = ["MAX_WEIGHTS", "HierarchicalCVAE", "Model", "StandardCVAE", "build", "outline"]

MAX_WEIGHTS = 192 * 2**20
"""Numbers in a model, 768 MiB, so that loading one takes less than 1 GB beside Python and PyTorch. The specification's
has 10.6 million, one four times as wide, the widest there is, 159 million."""


def build(config: ModelConfig) -> HierarchicalCVAE | StandardCVAE:
    """The untrained network that `config` describes.

    A standard model has no peak head, no FiLM and no early segment: `predict_peaks`, `peak_window_ms`, `use_film`
    and `early_signal_ratio` do not concern it. Levels, attention and time segments `ModelConfig` refuses for it.

    Raises:
        UserError: `config.static_dim` is null, or a value is out of range.
    """
    if config.static_dim is None:
        raise UserError(
            "model.static_dim: the network needs a number, but got null; resolve it first from the encoded columns"
        )
    sizes = (config.signal_length, config.static_dim)
    latents = {"global_latent_dim": config.global_latent_dim, "local_latent_dim": config.local_latent_dim}
    if config.model_type == "standard":
        return StandardCVAE(
            *sizes,
            **latents,
            width=config.width,
            dropout=config.dropout,
            batch_norm=config.batch_norm,
            static_from_latents=config.static_from_latents,
        )
    return HierarchicalCVAE(
        *sizes,
        **latents,
        predict_peaks=config.predict_peaks,
        use_film=config.use_film,
        early_signal_ratio=config.early_signal_ratio,
        width=config.width,
        dropout=config.dropout,
        batch_norm=config.batch_norm,
        static_from_latents=config.static_from_latents,
        intermediate_levels=config.intermediate_levels,
        intermediate_latent_dim=config.intermediate_latent_dim,
        attention=config.attention,
        local_segments=config.local_segments,
        peak_window_ms=config.peak_window_ms,
    )


def outline(config: ModelConfig) -> HierarchicalCVAE | StandardCVAE:
    """The network that `config` describes on PyTorch's meta device: its shapes, without memory.

    Raises:
        UserError: as `build`, or it has more than `MAX_WEIGHTS` numbers.
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
