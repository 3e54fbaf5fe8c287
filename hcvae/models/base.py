"""What every model offers, whatever is inside: forward pass, sampling, the older interfaces.

Legend: B batch, T samples, S static parameters, G global and L local latent dimensions, C conditions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.layers import check_arguments, check_columns
from hcvae.models.prior import Prior

Noise = tuple[Tensor, Tensor]
"""Standard-normal draws for z_global [B, G] and z_local [B, L]."""

GENERATED = {
    "recon_signal": "generated_signals",
    "recon_static_params": "generated_static_params",
    "predicted_peaks": "generated_peaks",
}
"""What `sample` calls the decoder's outputs."""


class Model(nn.Module, ABC):
    """A conditional VAE with a global and a local latent: subclasses say how to encode and how to decode."""

    def __init__(self, signal_length: int, static_dim: int, global_latent_dim: int, local_latent_dim: int) -> None:
        super().__init__()
        check_arguments(
            signal_length=signal_length,
            static_dim=static_dim,
            global_latent_dim=global_latent_dim,
            local_latent_dim=local_latent_dim,
        )
        self.signal_length = signal_length
        self.static_dim = static_dim
        self.global_latent_dim = global_latent_dim
        self.local_latent_dim = local_latent_dim
        self.prior_global = Prior(static_dim, global_latent_dim)
        self.prior_local = Prior(static_dim, local_latent_dim)

    @abstractmethod
    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """signals [B, T] and static_params [B, S] to mu_global, logvar_global [B, G], mu_local, logvar_local [B, L].

        Raises:
            UserError: a tensor has the wrong shape.
        """

    @abstractmethod
    def decode(self, z_global: Tensor, z_local: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """z_global [B, G], z_local [B, L] and static_params [B, S] to the outputs by name.

        recon_signal [B, T] and recon_static_params [B, S] in the standardised units of the inputs; predicted_peaks
        [B, 6] (latencies of waves I, III, V in ms, then their amplitudes in uV) where there is a peak head;
        recon_static_from_latents [B, S] where there is that head. Normalises as the mode of the model says: call
        `eval()` first for a result that does not depend on the rest of the batch.

        Raises:
            UserError: a tensor has the wrong shape.
        """

    def forward(self, signals: Tensor, static_params: Tensor, noise: Noise | None = None) -> dict[str, Tensor]:
        """Encode, draw the latents, decode: the outputs of `encode` and `decode`, z_global [B, G] and z_local [B, L].

        Draws in both modes; `encode` and `decode` of the means is the deterministic way. `noise` gives the draws, so
        that data-parallel workers can key them by row.

        Raises:
            UserError: a tensor has the wrong shape.
        """
        posterior = self.encode(signals, static_params)
        mu_global, mu_local = posterior["mu_global"], posterior["mu_local"]
        noise_global, noise_local = noise or (torch.randn_like(mu_global), torch.randn_like(mu_local))
        latents = {
            "z_global": mu_global + noise_global * torch.exp(0.5 * posterior["logvar_global"]),
            "z_local": mu_local + noise_local * torch.exp(0.5 * posterior["logvar_local"]),
        }
        return posterior | latents | self.decode(**latents, static_params=static_params)

    @torch.no_grad()
    def sample(
        self,
        static_params: Tensor | None = None,
        n_samples: int = 1,
        z_global: Tensor | None = None,
        z_local: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Generate `n_samples` waveforms for each of C conditions, condition by condition (row c * n_samples + s).

        Runs in eval mode, without gradients, and leaves the model in the mode it was in.

        Args:
            static_params: the conditions [C, S], standardised. None: zeros, the average condition; C is then 1, or
                what the rows of the latents give.
            n_samples: waveforms for each condition.
            z_global: [1, G] for all rows, [n_samples, G] for each condition in turn, or [C * n_samples, G] row by row.
                None: drawn from the prior, see `fit_prior`.
            z_local: likewise, with L columns.
            generator: draws the latents from the prior; gives the same draws on every device.

        Returns:
            generated_signals [C * n_samples, T], generated_static_params [.., S], generated_peaks [.., 6] where there
            is a peak head, and the latents z_global [.., G] and z_local [.., L].

        Raises:
            UserError: a tensor has the wrong shape, or n_samples is below 1.
        """
        if n_samples < 1:
            raise UserError(f"n_samples: must be at least 1, but got {n_samples!r}")
        given = {"z_global": (z_global, self.global_latent_dim), "z_local": (z_local, self.local_latent_dim)}
        for name, (latent, dim) in given.items():
            if latent is not None:
                check_columns(name, latent, dim)
        if static_params is None:
            most_rows = max((latent.shape[0] for latent, _ in given.values() if latent is not None), default=1)
            static_params = next(self.parameters()).new_zeros(max(1, most_rows // n_samples), self.static_dim)
        check_columns("static_params", static_params, self.static_dim)
        static_rows = static_params.repeat_interleave(n_samples, dim=0)
        priors = {"z_global": self.prior_global, "z_local": self.prior_local}
        latents = {
            name: _draw(priors[name], static_rows, generator)
            if latent is None
            else _latent_rows(name, latent, static_params.shape[0], n_samples)
            for name, (latent, _) in given.items()
        }
        with evaluating(self):
            decoded = self.decode(**latents, static_params=static_rows)
        return {GENERATED[name]: output for name, output in decoded.items() if name in GENERATED} | latents

    @torch.no_grad()
    def fit_prior(self, signals: Tensor, static_params: Tensor) -> None:
        """Let `sample` draw from what the encoder makes of signals [B, T] under static_params [B, S].

        Before that, it draws from the standard normal.
        """
        with evaluating(self):
            posterior = self.encode(signals, static_params)
        self.prior_global.fit(static_params, posterior["mu_global"], posterior["logvar_global"])
        self.prior_local.fit(static_params, posterior["mu_local"], posterior["logvar_local"])

    def get_latent_dims(self) -> dict[str, int]:
        """Dimensions of the latents: global_latent_dim, local_latent_dim and total_latent_dim."""
        return {
            "global_latent_dim": self.global_latent_dim,
            "local_latent_dim": self.local_latent_dim,
            "total_latent_dim": self.global_latent_dim + self.local_latent_dim,
        }

    def forward_legacy(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a CVAE with one latent returns: recon_signal [B, T], recon_static_params [B, S], mu, logvar [B, G + L].

        Raises:
            UserError: a tensor has the wrong shape.
        """
        output = self(signals, static_params)
        mu = torch.cat([output["mu_global"], output["mu_local"]], dim=1)
        logvar = torch.cat([output["logvar_global"], output["logvar_local"]], dim=1)
        return output["recon_signal"], output["recon_static_params"], mu, logvar

    def forward_from_combined_z(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """`decode` of one latent z [B, G + L], global dimensions first.

        Raises:
            UserError: a tensor has the wrong shape.
        """
        check_columns("z", z, self.global_latent_dim + self.local_latent_dim)
        return self.decode(z[:, : self.global_latent_dim], z[:, self.global_latent_dim :], static_params)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """The model of the bundle at `path` (`hcvae.load(path).model`).

        Raises:
            UserError: there is no sound bundle at `path`, or it holds another kind of model.
        """
        from hcvae.bundle import load  # a bundle builds models: imported at the top this would be a circle

        model = load(path).model
        if not isinstance(model, cls):
            raise UserError(f"{path}: holds a {type(model).__name__}, not a {cls.__name__}; hcvae.load reads either")
        return model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every part is back in the mode that it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _draw(prior: Prior, static_rows: Tensor, generator: torch.Generator | None) -> Tensor:
    # Drawn where the generator lives, so that a seed means the same on every device.
    device = static_rows.device if generator is None else generator.device
    shape = (len(static_rows), prior.factor.shape[0])
    noise = torch.randn(shape, generator=generator, dtype=static_rows.dtype, device=device)
    return cast(Tensor, prior(static_rows, noise.to(static_rows)))


def _latent_rows(name: str, latent: Tensor, conditions: int, n_samples: int) -> Tensor:
    given, dim = latent.shape
    rows = conditions * n_samples
    if given == rows:
        return latent
    if given not in (1, n_samples):
        raise UserError(
            f"{name}: for {conditions} conditions and n_samples={n_samples} the shape must be [1, {dim}], "
            f"[{n_samples}, {dim}] or [{rows}, {dim}], but got {list(latent.shape)}"
        )
    return latent.repeat(rows // given, 1)
