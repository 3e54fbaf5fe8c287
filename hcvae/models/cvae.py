"""The hierarchical conditional VAE of the specification.

Shapes: B batch, T samples, S static parameters, G global, M intermediate and L local latent dimensions.
"""

from typing import Any

from torch import Tensor

from hcvae.models.decoder import HierarchicalDecoder
from hcvae.models.encoder import HierarchicalEncoder
from hcvae.models.layers import check_arguments, check_columns
from hcvae.models.specification import SpecificationModel


class HierarchicalCVAE(SpecificationModel):
    """Two encoders, and a decoder of z_local and the condition that z_global steers by FiLM.

    10,524,501 parameters with the specification's arguments (200 samples, 7 static parameters, latents of 32 and 32).
    Three of the specification's future enhancements are options that combine freely: intermediate levels, attention
    between the encoders, and local latents of time segments.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: dimensions of z_global.
        local_latent_dim: dimensions of z_local.
        predict_peaks: predict latency and amplitude of waves I, III and V.
        use_film: steer by FiLM; False concatenates z_global to the decoder's input.
        early_signal_ratio: share of the waveform, from its start, that the local encoder gets a second time.
        width: scales all hidden widths.
        dropout: dropout of the encoders' hidden layers.
        batch_norm: batch normalisation of the hidden layers.
        static_from_latents: adds a head that predicts the static parameters from the latents alone.
        intermediate_levels: latent levels between the global and the local one, 0 to 2. Each has an encoder, and steers
            later layers of the decoder than z_global.
        intermediate_latent_dim: dimensions of each level; M is their sum.
        attention: cross-attention between the last hidden features of the two encoders.
        peak_window_ms: time of the last sample: predicted latencies lie before it, in the order of the waves; None:
            they are unconstrained.
        local_segments: time segments, each with a part of z_local that changes no sample outside the segment.

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
        intermediate_levels: int = 0,
        intermediate_latent_dim: int = 16,
        attention: bool = False,
        local_segments: int = 1,
        peak_window_ms: float | None = None,
    ) -> None:
        check_arguments(intermediate_levels=intermediate_levels, intermediate_latent_dim=intermediate_latent_dim)
        latent_dims = {"global": global_latent_dim}
        if intermediate_levels:
            latent_dims["intermediate"] = intermediate_levels * intermediate_latent_dim
        latent_dims["local"] = local_latent_dim
        super().__init__(signal_length, static_dim, latent_dims)
        sizes = (signal_length, static_dim, global_latent_dim, local_latent_dim)
        shared: dict[str, Any] = {
            "width": width,
            "batch_norm": batch_norm,
            "intermediate_levels": intermediate_levels,
            "intermediate_latent_dim": intermediate_latent_dim,
        }
        self.encoder = HierarchicalEncoder(*sizes, early_signal_ratio, dropout=dropout, attention=attention, **shared)
        self.decoder = HierarchicalDecoder(
            *sizes,
            predict_peaks,
            use_film,
            static_from_latents=static_from_latents,
            local_segments=local_segments,
            peak_window_ms=peak_window_ms,
            **shared,
        )

    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.encode`."""
        check_columns("signals", signals, self.signal_length)
        check_columns("static_params", static_params, self.static_dim)
        posterior: dict[str, Tensor] = self.encoder(signals, static_params)
        return posterior

    def decode(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `Model.decode`."""
        self._check_decoder_inputs(z_global, z_local, static_params, z_intermediate)
        outputs: dict[str, Tensor] = self.decoder(z_global, z_local, static_params, z_intermediate)
        return outputs
