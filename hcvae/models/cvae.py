"""The hierarchical conditional VAE of the specification.

Legend: B batch, T samples, S static parameters, G global, M intermediate and L local latent dimensions.
"""

from torch import Tensor

from hcvae.models.base import Model
from hcvae.models.decoder import HierarchicalDecoder
from hcvae.models.encoder import HierarchicalEncoder
from hcvae.models.layers import check_arguments, check_columns


class HierarchicalCVAE(Model):
    """Two encoders, and a decoder that z_global steers by FiLM while z_local and the condition enter as its input.

    10,524,501 parameters with the specification's arguments (200 samples, 7 static parameters, latents of 32 and 32).
    Three of the specification's future enhancements are options, to be combined freely: intermediate levels, attention
    between the encoders, and local latents of time segments.

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
        intermediate_levels: latent levels between the global and the local one, 0 to 2. Each has an encoder, and steers
            layers of the decoder after z_global's.
        intermediate_latent_dim: dimensions of each of these levels; M is those of all together.
        attention: the last hidden features of the two encoders hear each other by cross-attention.
        peak_window_ms: time of the last sample, before which all latencies lie in the order of the waves; None: any
            latency may be predicted.
        local_segments: time segments with a part of z_local each; that part changes no sample outside its segment.

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
        between = {"intermediate": intermediate_levels * intermediate_latent_dim} if intermediate_levels else {}
        super().__init__(signal_length, static_dim, {"global": global_latent_dim, **between, "local": local_latent_dim})
        self.encoder = HierarchicalEncoder(
            signal_length,
            static_dim,
            global_latent_dim,
            local_latent_dim,
            early_signal_ratio,
            width=width,
            dropout=dropout,
            batch_norm=batch_norm,
            intermediate_levels=intermediate_levels,
            intermediate_latent_dim=intermediate_latent_dim,
            attention=attention,
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
            intermediate_levels=intermediate_levels,
            intermediate_latent_dim=intermediate_latent_dim,
            local_segments=local_segments,
            peak_window_ms=peak_window_ms,
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
