"""What every model offers, whatever is inside: forward pass, sampling, the older interfaces.

A model's latent consists of blocks: global, intermediate where it has such levels, local (`Model.latent_dims`).

Legend: B batch, T samples, S static parameters, G global, M intermediate and L local latent dimensions, D those of a
block, C conditions.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.layers import check_arguments, check_columns
from hcvae.models.prior import Prior
from hcvae.models.residual import ResidualNoise

Noise = tuple[Tensor, ...]
"""Standard-normal draws [B, D] for each block, in the order of `Model.latent_dims`."""

GENERATED = {
    "recon_signal": "generated_signals",
    "recon_static_params": "generated_static_params",
    "predicted_peaks": "generated_peaks",
}
"""What `sample` calls the decoder's outputs."""


class Model(nn.Module, ABC):
    """A conditional VAE with a global and a local latent: subclasses say how to encode and how to decode."""

    def __init__(self, signal_length: int, static_dim: int, latent_dims: Mapping[str, int]) -> None:
        super().__init__()
        dims = {f"{block}_latent_dim": dim for block, dim in latent_dims.items()}
        check_arguments(signal_length=signal_length, static_dim=static_dim, **dims)
        self.signal_length = signal_length
        self.static_dim = static_dim
        self._latent_dims = dict(latent_dims)
        for block, dim in latent_dims.items():
            self.add_module(f"prior_{block}", Prior(static_dim, dim))
        self.residual = ResidualNoise(static_dim, signal_length)

    @property
    def latent_dims(self) -> dict[str, int]:
        """Dimensions of each block in order: `global`, `intermediate` (all levels together, if any), `local`."""
        return dict(self._latent_dims)

    @abstractmethod
    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """signals [B, T] and static_params [B, S] to mu_global, logvar_global [B, G], mu_local, logvar_local [B, L].

        mu_intermediate and logvar_intermediate [B, M] only where the model has intermediate levels.

        Raises:
            UserError: a tensor has the wrong shape.
        """

    @abstractmethod
    def decode(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """z_global [B, G], z_local [B, L], static_params [B, S] and z_intermediate [B, M] to the outputs by name.

        z_intermediate belongs to models with intermediate levels, and to no other.

        recon_signal [B, T] and recon_static_params [B, S] in the standardised units of the inputs; predicted_peaks
        [B, 6] (latencies of waves I, III, V in ms, then their amplitudes in uV) where there is a peak head;
        recon_static_from_latents [B, S] where there is that head. Normalises as the mode of the model says: call
        `eval()` first for a result that does not depend on the rest of the batch.

        Raises:
            UserError: a tensor has the wrong shape, or z_intermediate is missing or one too many.
        """

    def forward(self, signals: Tensor, static_params: Tensor, noise: Noise | None = None) -> dict[str, Tensor]:
        """Encode, draw the latents, decode: the outputs of `encode` and `decode`, and `z_` of each block [B, D].

        Draws in both modes; `encode` and `decode` of the means is the deterministic way. `noise` gives the draws, so
        that data-parallel workers can key them by row.

        Raises:
            UserError: a tensor has the wrong shape, or there is not one tensor of noise for each block.
        """
        posterior = self.encode(signals, static_params)
        if noise is None:
            noise = tuple(torch.randn_like(posterior[f"mu_{block}"]) for block in self.latent_dims)
        latents = self.sample_posterior(posterior, noise)
        return posterior | latents | self.decode(**latents, static_params=static_params)

    def sample_posterior(self, posterior: dict[str, Tensor], noise: Noise) -> dict[str, Tensor]:
        """`z_` of each block [B, D] from the outputs of `encode` and standard-normal draws, one tensor for each block.

        Raises:
            UserError: there is not one tensor of noise for each block.
        """
        if len(noise) != len(self.latent_dims):
            raise UserError(
                f"noise: must be a tensor for each of {list(self.latent_dims)}, but got {len(noise)} tensors"
            )
        return {
            f"z_{block}": posterior[f"mu_{block}"] + drawn * torch.exp(0.5 * posterior[f"logvar_{block}"])
            for block, drawn in zip(self.latent_dims, noise, strict=True)
        }

    @torch.no_grad()
    def sample(
        self,
        static_params: Tensor | None = None,
        n_samples: int = 1,
        z_global: Tensor | None = None,
        z_local: Tensor | None = None,
        z_intermediate: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        residual_noise: bool = False,
        temperature: float = 1.0,
    ) -> dict[str, Tensor]:
        """Generate `n_samples` waveforms for each of C conditions, condition by condition (row c * n_samples + s).

        Runs in eval mode, without gradients, and leaves the model in the mode it was in.

        Args:
            static_params: the conditions [C, S], standardised. None: zeros, the average condition; C is then 1, or
                what the rows of the latents give.
            n_samples: waveforms for each condition.
            z_global: [1, G] for all rows, [n_samples, G] for each condition in turn, or [C * n_samples, G] row by row.
                None: drawn from the prior, see `fit_generation`.
            z_local: likewise, with L columns.
            z_intermediate: likewise, with M columns; for models with intermediate levels only.
            generator: draws the latents, then the noise; gives the same draws on every device.
            residual_noise: waveforms as averages of a recorder look, with noise (see `fit_generation`), instead of the
                expected responses; all else stays as it is without.
            temperature: factor on the spread of the latents that are drawn; 0 gives the prior's mean.

        Returns:
            generated_signals [C * n_samples, T], generated_static_params [.., S], generated_peaks [.., 6] where there
            is a peak head, and the latents z_global [.., G], z_local [.., L] and, with levels, z_intermediate [.., M].

        Raises:
            UserError: a tensor has the wrong shape, n_samples is below 1, temperature is negative or not finite, or the
                model has no intermediate level; or a waveform is not finite.
        """
        if n_samples < 1:
            raise UserError(f"n_samples: must be at least 1, but got {n_samples!r}")
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature: must be a number from 0, but got {temperature!r}")
        given = self._blocks(z_global, z_local, z_intermediate)
        if static_params is None:
            most_rows = max((latent.shape[0] for latent in given.values() if latent is not None), default=1)
            static_params = next(self.parameters()).new_zeros(max(1, most_rows // n_samples), self.static_dim)
        check_columns("static_params", static_params, self.static_dim)
        static_rows = static_params.repeat_interleave(n_samples, dim=0)
        latents = {
            f"z_{block}": self.prior(block)(
                static_rows, temperature * _normal(static_rows, self.latent_dims[block], generator)
            )
            if latent is None
            else _latent_rows(f"z_{block}", latent, static_params.shape[0], n_samples)
            for block, latent in given.items()
        }
        with evaluating(self):
            decoded = self.decode(**latents, static_params=static_rows)
        if residual_noise:
            noise = _normal(static_rows, 1 + self.signal_length, generator)
            decoded["recon_signal"] = decoded["recon_signal"] + self.residual(static_rows, noise)
        if not decoded["recon_signal"].isfinite().all():
            raise UserError(
                "model: must give finite waveforms, but does not: its weights are damaged, or the condition lies far "
                "from all that it was trained on"
            )
        return {GENERATED[name]: output for name, output in decoded.items() if name in GENERATED} | latents

    @torch.no_grad()
    def fit_generation(
        self,
        signals: Tensor,
        static_params: Tensor,
        held_out: tuple[Tensor, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Let `sample` draw from what the encoder makes of signals [B, T] under static_params [B, S], with their noise.

        Before that, it draws from the standard normal, and there is no noise. `held_out`, signals and static_params of
        other subjects, decide how closely the regressions on the condition follow; `generator` draws from the
        posteriors.
        """
        output = self._sampled_output(signals, static_params, generator)
        other = None if held_out is None else self._sampled_output(*held_out, generator)
        for block in self.latent_dims:
            others = None if held_out is None or other is None else (held_out[1], other[f"mu_{block}"])
            self.prior(block).fit(static_params, output[f"mu_{block}"], output[f"logvar_{block}"], others)
        noisy = None if held_out is None or other is None else (held_out[1], held_out[0], other["recon_signal"])
        self.residual.fit(static_params, signals, output["recon_signal"], noisy)

    def _sampled_output(
        self, signals: Tensor, static_params: Tensor, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """The forward pass in eval mode."""
        noise = tuple(_normal(static_params, dim, generator) for dim in self.latent_dims.values())
        with evaluating(self):
            output: dict[str, Tensor] = self(signals, static_params, noise)
        return output

    def get_latent_dims(self) -> dict[str, int]:
        """Dimensions by name: global_latent_dim, intermediate_latent_dim if any, local_latent_dim, total_latent_dim."""
        dims = {f"{block}_latent_dim": dim for block, dim in self.latent_dims.items()}
        return dims | {"total_latent_dim": sum(dims.values())}

    def forward_legacy(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a CVAE with one latent returns: recon_signal [B, T], recon_static_params [B, S], mu, logvar.

        Mean and log-variance are those of all blocks in order, [B, G + M + L].

        Raises:
            UserError: a tensor has the wrong shape.
        """
        output = self(signals, static_params)
        mu, logvar = (
            torch.cat([output[f"{name}_{block}"] for block in self.latent_dims], dim=1) for name in ("mu", "logvar")
        )
        return output["recon_signal"], output["recon_static_params"], mu, logvar

    def forward_from_combined_z(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """`decode` of one latent z [B, G + M + L], the blocks in order.

        Raises:
            UserError: a tensor has the wrong shape.
        """
        dims = self.latent_dims
        check_columns("z", z, sum(dims.values()))
        parts = z.split(list(dims.values()), dim=1)
        latents = {f"z_{block}": part for block, part in zip(dims, parts, strict=True)}
        return self.decode(**latents, static_params=static_params)

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

    def prior(self, block: str) -> Prior:
        """Where the latents of a block are drawn from."""
        return cast(Prior, self.get_submodule(f"prior_{block}"))

    def _blocks(
        self, z_global: Tensor | None, z_local: Tensor | None, z_intermediate: Tensor | None
    ) -> dict[str, Tensor | None]:
        """The latents by block in order, after a check of those that are given."""
        if z_intermediate is not None and "intermediate" not in self.latent_dims:
            raise UserError(
                "z_intermediate: this model has no intermediate levels; leave it out, "
                f"but got a tensor of shape {list(z_intermediate.shape)}"
            )
        given = {"global": z_global, "intermediate": z_intermediate, "local": z_local}
        blocks = {block: given[block] for block in self.latent_dims}
        for block, latent in blocks.items():
            if latent is not None:
                check_columns(f"z_{block}", latent, self.latent_dims[block])
        return blocks

    def _check_decoder_inputs(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None
    ) -> None:
        self._blocks(z_global, z_local, z_intermediate)
        if z_intermediate is None and "intermediate" in self.latent_dims:
            raise UserError(
                "z_intermediate: this model has intermediate levels; pass their latent "
                f"[rows, {self.latent_dims['intermediate']}], such as `mu_intermediate` of `encode`, but got None"
            )
        check_columns("static_params", static_params, self.static_dim)


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


def _normal(static_rows: Tensor, columns: int, generator: torch.Generator | None) -> Tensor:
    """Standard-normal noise [N, columns] beside the conditions [N, S]."""
    # Drawn where the generator lives, so that a seed means the same on every device.
    device = static_rows.device if generator is None else generator.device
    noise = torch.randn(len(static_rows), columns, generator=generator, dtype=static_rows.dtype, device=device)
    return noise.to(static_rows)


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
