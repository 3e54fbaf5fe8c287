"""The hierarchical conditional VAE of the specification.

Legend: B batch, T samples, S static parameters, G global and L local latent dimensions.
"""

from torch import Tensor

from hcvae.models.base import Model
from hcvae.models.decoder import HierarchicalDecoder
from hcvae.models.encoder import HierarchicalEncoder
from hcvae.models.layers import check_columns


class HierarchicalCVAE(Model):
    """Two encoders, and a decoder that z_global steers by FiLM while z_local and the condition enter as its input.

    10,524,501 parameters with the specification's arguments (200 samples, 7 static parameters, latents of 32 and 32).

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: dimensions of z_global.
        local_latent_dim: dimensions of z_local.
        predict_peaks: predict latency and amplitude of waves I, III and V.
        use_film: steer by FiLM; False concatenates z_global to the decoder's input.
        early_signal_ratio: share of the waveform, from its start, that the local encoder sees a second time.
        width: scales all hidden widths.
        dropout: dropout of the encoders' hidden layers.
        batch_norm: batch normalisation of the hidden layers.
        static_from_latents: adds a head that predicts the static parameters from the latents alone.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        signal_length: int = 200,
        static_dim: int = 7,
        global_latent_dim: int = 32,
        local_latent_dim: int = 32,
        predict_peaks: bool = True,
        use_film: bool = True,
        early_signal_ratio: float = 0.3,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        batch_norm: bool = True,
        static_from_latents: bool = False,
    ) -> None:
        super().__init__(signal_length, static_dim, global_latent_dim, local_latent_dim)
        self.encoder = HierarchicalEncoder(
            signal_length,
            static_dim,
            global_latent_dim,
            local_latent_dim,
            early_signal_ratio,
            width=width,
            dropout=dropout,
            batch_norm=batch_norm,
        )
        self.decoder = HierarchicalDecoder(
            signal_length,
            static_dim,
            global_latent_dim,
            local_latent_dim,
            predict_peaks,
            use_film,
            width=width,
            batch_norm=batch_norm,
            static_from_latents=static_from_latents,
        )

    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.encode`."""
        check_columns("signals", signals, self.signal_length)
        check_columns("static_params", static_params, self.static_dim)
        posterior: dict[str, Tensor] = self.encoder(signals, static_params)
        return posterior

    def decode(self, z_global: Tensor, z_local: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.decode`."""
        check_columns("z_global", z_global, self.global_latent_dim)
        check_columns("z_local", z_local, self.local_latent_dim)
        check_columns("static_params", static_params, self.static_dim)
        outputs: dict[str, Tensor] = self.decoder(z_global, z_local, static_params)
        return outputs
