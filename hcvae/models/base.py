"""The base class of all models: forward pass, and sampling from a prior that is fitted after the training.

A model's latent consists of blocks: global, intermediate if it has such levels, and local (`Model.latent_dims`).

Shapes: B batch, T samples, S static parameters, G global, M intermediate and L local latent dimensions, D those of a
block, C conditions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.condition import Rows
from hcvae.models.layers import check_arguments, check_columns
from hcvae.models.prior import Prior
from hcvae.models.residual import ResidualNoise

MAX_TEMPERATURE = 3.0
"""Largest factor on the spread of sampled latents. Beyond it nearly all of them are outside those of the training."""
Noise = tuple[Tensor, ...]
"""Standard-normal noise [B, D] for each block, in the order of `Model.latent_dims`."""

GENERATED = {
    "recon_signal": "generated_signals",
    "recon_static_params": "generated_static_params",
    "predicted_peaks": "generated_peaks",
}
"""The names that `sample` gives to the decoder's outputs."""


class Model(nn.Module, ABC):
    """A conditional VAE with a global and a local latent. Subclasses implement `encode` and `decode`."""

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
        """The dimensions of each block in order: `global`, `intermediate` (all levels together, if any), `local`."""
        return dict(self._latent_dims)

    @property
    def n_parameters(self) -> int:
        """The number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @abstractmethod
    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return the posterior of signals [B, T] under static_params [B, S].

        Returns:
            mu_global, logvar_global [B, G], mu_local, logvar_local [B, L]; with intermediate levels also
            mu_intermediate, logvar_intermediate [B, M].

        Raises:
            UserError: a tensor has the wrong shape.
        """

    @abstractmethod
    def decode(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Decode z_global [B, G], z_local [B, L] and z_intermediate [B, M] under static_params [B, S].

        Models with intermediate levels require z_intermediate, and the others refuse it. Batch normalisation follows
        the mode of the model: call `eval()` first for a result that does not depend on the rest of the batch.

        Returns:
            recon_signal [B, T] and recon_static_params [B, S] in the standardised units of the inputs; with a peak
            head, predicted_peaks [B, 6]: latencies of waves I, III, V in ms, then their amplitudes in uV; with the
            head on the latents, recon_static_from_latents [B, S].

        Raises:
            UserError: a tensor has the wrong shape, or z_intermediate is missing or not accepted.
        """

    def forward(self, signals: Tensor, static_params: Tensor, noise: Noise | None = None) -> dict[str, Tensor]:
        """Encode, sample the latents, decode: the outputs of `encode` and `decode`, and `z_` of each block [B, D].

        Samples in both modes; for a deterministic result decode the means of `encode`. `noise` replaces the random
        numbers, so that data-parallel workers can key them by row.

        Raises:
            UserError: a tensor has the wrong shape, or `noise` is not one tensor for each block.
        """
        posterior = self.encode(signals, static_params)
        if noise is None:
            noise = tuple(torch.randn_like(posterior[f"mu_{block}"]) for block in self.latent_dims)
        latents = self.sample_posterior(posterior, noise)
        return posterior | latents | self.decode(**latents, static_params=static_params)

    def sample_posterior(self, posterior: dict[str, Tensor], noise: Noise) -> dict[str, Tensor]:
        """Return `z_` of each block [B, D] for the outputs of `encode` and standard-normal noise for each block.

        Raises:
            UserError: `noise` is not one tensor for each block.
        """
        if len(noise) != len(self.latent_dims):
            raise UserError(
                f"noise: must be a tensor for each of {list(self.latent_dims)}, but got {len(noise)} tensors"
            )
        latents = {}
        for block, block_noise in zip(self.latent_dims, noise, strict=True):
            deviation = torch.exp(0.5 * posterior[f"logvar_{block}"])
            latents[f"z_{block}"] = posterior[f"mu_{block}"] + block_noise * deviation
        return latents

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

        Runs in eval mode, without gradients, and restores the mode of the model.

        Args:
            static_params: the conditions [C, S], standardised. None: zeros, the average condition; C is then 1, or
                follows from the rows of the latents.
            n_samples: waveforms for each condition.
            z_global: [1, G] for all rows, [n_samples, G] for each condition in turn, or [C * n_samples, G] row by row.
                None: sampled from the prior, see `fit_generation`.
            z_local: likewise, with L columns.
            z_intermediate: likewise, with M columns; for models with intermediate levels only.
            generator: random numbers for the latents, then for the noise, the same on every device.
            residual_noise: return waveforms with the noise of recorded averages (see `fit_generation`) instead of the
                expected responses; this changes nothing else.
            temperature: factor on the spread of the sampled latents; 0 gives the prior's mean.

        Returns:
            generated_signals [C * n_samples, T], generated_static_params [.., S], with a peak head generated_peaks
            [.., 6], and the latents z_global [.., G], z_local [.., L] and, with levels, z_intermediate [.., M].

        Raises:
            UserError: a tensor has the wrong shape, n_samples is below 1, temperature is not within 0 to
                `MAX_TEMPERATURE`, the model has no intermediate level, or a generated waveform is not finite.
        """
        if n_samples < 1:
            raise UserError(f"n_samples: must be at least 1, but got {n_samples!r}")
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise UserError(f"temperature: must be a number from 0 to {MAX_TEMPERATURE:g}, but got {temperature!r}")
        given = self._checked_latents(z_global, z_local, z_intermediate)
        if static_params is None:
            static_params = self._average_conditions(given, n_samples)
        check_columns("static_params", static_params, self.static_dim)
        static_rows = static_params.repeat_interleave(n_samples, dim=0)
        latents = {}
        for block, latent in given.items():
            if latent is None:
                noise = temperature * _normal(static_rows, self.latent_dims[block], generator)
                latents[f"z_{block}"] = self.prior(block)(static_rows, noise)
            else:
                latents[f"z_{block}"] = _latent_rows(f"z_{block}", latent, len(static_params), n_samples)
        with evaluating(self):
            decoded = self.decode(**latents, static_params=static_rows)
        if residual_noise:
            noise = _normal(static_rows, 1 + self.signal_length, generator)
            decoded["recon_signal"] = decoded["recon_signal"] + self.residual(static_rows, noise)
        _check_finite(decoded["recon_signal"])
        return _as_generated(decoded) | latents

    @torch.no_grad()
    def fit_generation(
        self,
        signals: Tensor,
        static_params: Tensor,
        held_out: tuple[Tensor, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Fit the prior and the residual noise of `sample` to signals [B, T] under static_params [B, S].

        Before that, the prior is the standard normal, and there is no noise. With `held_out`, signals and
        static_params of other subjects, the regressions on the condition are regularised so that they predict these
        best. `generator` samples from the posteriors.
        """
        output = self._forward_in_eval_mode(signals, static_params, generator)
        held_out_means: dict[str, Rows] = {}
        held_out_decoded = None
        if held_out is not None:
            held_out_signals, held_out_static = held_out
            held_out_output = self._forward_in_eval_mode(held_out_signals, held_out_static, generator)
            for block in self.latent_dims:
                held_out_means[block] = (held_out_static, held_out_output[f"mu_{block}"])
            held_out_decoded = (held_out_static, held_out_signals, held_out_output["recon_signal"])
        for block in self.latent_dims:
            self.prior(block).fit(
                static_params, output[f"mu_{block}"], output[f"logvar_{block}"], held_out_means.get(block)
            )
        self.residual.fit(static_params, signals, output["recon_signal"], held_out_decoded)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Return the model of the bundle at `path` (`hcvae.load(path).model`).

        Raises:
            UserError: there is no valid bundle at `path`, or its model is of another class.
        """
        from hcvae.bundle import load  # not at the top: hcvae.bundle imports this package

        model = load(path).model
        if not isinstance(model, cls):
            raise UserError(f"{path}: contains a {type(model).__name__}, not a {cls.__name__}; hcvae.load reads either")
        return model

    def prior(self, block: str) -> Prior:
        """Return the prior of a block."""
        return cast(Prior, self.get_submodule(f"prior_{block}"))

    def _forward_in_eval_mode(
        self, signals: Tensor, static_params: Tensor, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        noise = tuple(_normal(static_params, dim, generator) for dim in self.latent_dims.values())
        with evaluating(self):
            output: dict[str, Tensor] = self(signals, static_params, noise)
        return output

    def _average_conditions(self, latents: Mapping[str, Tensor | None], n_samples: int) -> Tensor:
        """Return zeros [C, S] for as many conditions as the given latents have rows for, at least 1."""
        rows = 1
        for latent in latents.values():
            if latent is not None:
                rows = max(rows, len(latent))
        return next(self.parameters()).new_zeros(max(1, rows // n_samples), self.static_dim)

    def _checked_latents(
        self, z_global: Tensor | None, z_local: Tensor | None, z_intermediate: Tensor | None
    ) -> dict[str, Tensor | None]:
        """Return the latents by block in order, with those that are given checked."""
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
        self._checked_latents(z_global, z_local, z_intermediate)
        if z_intermediate is None and "intermediate" in self.latent_dims:
            raise UserError(
                "z_intermediate: this model has intermediate levels; pass their latent "
                f"[rows, {self.latent_dims['intermediate']}], such as `mu_intermediate` of `encode`, but got None"
            )
        check_columns("static_params", static_params, self.static_dim)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode inside the context, and then restore the mode of every module."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _normal(static_rows: Tensor, columns: int, generator: torch.Generator | None) -> Tensor:
    """Return standard-normal noise [N, columns] for the conditions [N, S], on their device and in their type."""
    # Sampled on the generator's device, so that a seed gives the same numbers for every device of the model.
    device = static_rows.device
    if generator is not None:
        device = generator.device
    noise = torch.randn(len(static_rows), columns, generator=generator, dtype=static_rows.dtype, device=device)
    return noise.to(static_rows)


def _as_generated(decoded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the outputs of `decode` that `sample` returns, under its names."""
    return {GENERATED[name]: output for name, output in decoded.items() if name in GENERATED}


def _check_finite(signals: Tensor) -> None:
    if not signals.isfinite().all():
        raise UserError(
            "model: generated waveforms must be finite, but some are not; its weights are damaged, or the condition "
            "lies far from all training conditions"
        )


def _latent_rows(name: str, latent: Tensor, conditions: int, n_samples: int) -> Tensor:
    """Return the latent [1 or n_samples or C * n_samples, D] repeated to [C * n_samples, D]."""
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
