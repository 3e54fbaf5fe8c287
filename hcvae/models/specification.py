"""Methods that the specification names for every model and that no code of this product calls.

Shapes: B batch, T samples, S static parameters, G global, M intermediate and L local latent dimensions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from hcvae.models.base import Model
from hcvae.models.layers import check_columns


class SpecificationModel(Model):
    """A model that also has the specification's interfaces to one combined latent [B, G + M + L]."""

    def get_latent_dims(self) -> dict[str, int]:
        """Return global_latent_dim, intermediate_latent_dim if any, local_latent_dim, and total_latent_dim."""
        dims = {f"{block}_latent_dim": dim for block, dim in self.latent_dims.items()}
        return dims | {"total_latent_dim": sum(dims.values())}

    def forward_legacy(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what a CVAE with one latent returns: recon_signal [B, T], recon_static_params [B, S], mu, logvar.

        Mean and log-variance are those of all blocks in order, [B, G + M + L].

        Raises:
            UserError: a tensor has the wrong shape.
        """
        output = self(signals, static_params)
        mu = self._all_blocks("mu", output)
        logvar = self._all_blocks("logvar", output)
        return output["recon_signal"], output["recon_static_params"], mu, logvar

    def forward_from_combined_z(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return `decode` of one latent z [B, G + M + L], the blocks in order.

        Raises:
            UserError: a tensor has the wrong shape.
        """
        dims = self.latent_dims
        check_columns("z", z, sum(dims.values()))
        parts = z.split(list(dims.values()), dim=1)
        latents = {f"z_{block}": part for block, part in zip(dims, parts, strict=True)}
        return self.decode(**latents, static_params=static_params)

    def _all_blocks(self, name: str, output: Mapping[str, Tensor]) -> Tensor:
        """Return the output `name` of all blocks in order, side by side."""
        return torch.cat([output[f"{name}_{block}"] for block in self.latent_dims], dim=1)
