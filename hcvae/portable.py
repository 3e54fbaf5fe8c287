"""A model as networks of plain tensors in physical units, for runtimes without tables and bundles.

Where `hcvae` refuses a condition that no training row had, these networks return NaN.

Shapes: B batch, T samples, C columns of the condition, S encoded static parameters, K categories, D dimensions of a
latent.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hcvae.bundle import Bundle
from hcvae.data.normalization import SignalNormalization
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.static import StaticColumn, StaticEncoder
from hcvae.models import Model
from hcvae.peaks import valid_waves


class ConditionEncoder(nn.Module):
    """Encodes conditions [B, C]: numbers in their own units, categories as positions in the column's list, null as NaN.

    The condition also gives the normalisation group.
    """

    scales: Tensor
    in_group: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.columns = preprocessing.static.columns
        self.group_by = preprocessing.signal.group_by
        groups: tuple[str, ...] = ("",)
        for column in self.columns:
            if column.name == self.group_by:
                groups = column.categories
        scales, in_group = _scales_of(groups, preprocessing.signal)
        self.register_buffer("scales", scales)
        self.register_buffer("in_group", in_group)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return static parameters [B, S], mean and scale in uV [B, 1], and whether the condition is known [B, 1]."""
        known = torch.ones_like(condition[:, :1], dtype=torch.bool)
        group = known
        encoded: list[Tensor] = []
        for position, column in enumerate(self.columns):
            value = condition[:, position : position + 1]
            if column.kind == "category":
                hits = value == torch.arange(len(column.categories), dtype=value.dtype)
                encoded.append(hits.to(value.dtype))
                seen = hits.any(dim=1, keepdim=True)
                if column.name == self.group_by:
                    group = hits & self.in_group
            else:
                seen = self._number(column, value, encoded)
            if column.has_nulls:
                encoded.append(value.isnan().to(value.dtype))
                seen = seen | value.isnan()
            known = known & seen
        scales = group.to(condition.dtype) @ self.scales  # [B, 2]
        return torch.cat(encoded, dim=1), scales[:, :1], scales[:, 1:], known & group.any(dim=1, keepdim=True)

    @staticmethod
    def _number(column: StaticColumn, value: Tensor, encoded: list[Tensor]) -> Tensor:
        if column.minimum == column.maximum:
            return value == column.minimum
        standardised = (value - column.mean) / column.std
        encoded.append(torch.where(value.isnan(), torch.zeros_like(value), standardised))
        return ~value.isnan()


class PortableEncoder(nn.Module):
    """Maps signal [B, T] in uV and condition [B, C] to the mean and log-variance [B, D] of each latent."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.model = bundle.model
        self.condition = ConditionEncoder(bundle.preprocessing)
        self.output_names: list[str] = []
        for block in bundle.model.latent_dims:
            self.output_names += [f"mu_{block}", f"logvar_{block}"]

    def forward(self, signal: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, NaN in rows whose condition is not known."""
        static, mean, std, known = self.condition(condition)
        posterior = self.model.encode((signal - mean) / std, static)
        return tuple(_nan_unless(known, posterior[name]) for name in self.output_names)


class PortablePrior(nn.Module):
    """Maps condition [B, C] and standard-normal noise [B, D] of each latent to a sample of that latent [B, D]."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.condition = ConditionEncoder(bundle.preprocessing)
        self.priors = nn.ModuleList(map(bundle.model.prior, bundle.model.latent_dims))
        self.output_names = _latents(bundle.model)

    def forward(self, condition: Tensor, *noise: Tensor) -> tuple[Tensor, ...]:
        """Return the latents, NaN in rows whose condition is not known."""
        static, _, _, known = self.condition(condition)
        latents = []
        for prior, values in zip(self.priors, noise, strict=True):
            latents.append(_nan_unless(known, prior(static, values)))
        return tuple(latents)


class PortableDecoder(nn.Module):
    """Maps condition [B, C] and latents [B, D] to signal [B, T] in uV, static [B, S] and, if predicted, peaks [B, 6].

    static: numbers in their own units, scores of categories and of null, in the order of `StaticEncoder.names`.
    peaks: latency of waves I, III, V in ms, then their amplitude in uV; NaN for a wave that is not valid.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        preprocessing = bundle.preprocessing
        self.preprocessing = preprocessing
        self.model = bundle.model
        self.condition = ConditionEncoder(preprocessing)
        self.inputs = _latents(bundle.model)
        self.has_peaks = bundle.config.model.predict_peaks and bundle.config.model.model_type == "hierarchical"
        self.output_names = ["signal", "static"]
        if self.has_peaks:
            self.output_names.append("peaks")
        shift, scale = _units_of(preprocessing.static)
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, condition: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, NaN in rows whose condition is not known."""
        static, mean, std, known = self.condition(condition)
        decoded = self.model.decode(**dict(zip(self.inputs, latents, strict=True)), static_params=static)
        outputs = [
            _nan_unless(known, decoded["recon_signal"] * std + mean),
            _nan_unless(known, decoded["recon_static_params"] * self.scale + self.shift),
        ]
        if self.has_peaks:
            peaks = decoded["predicted_peaks"]
            valid = valid_waves(peaks, self.preprocessing).repeat(1, 2)
            outputs.append(_nan_unless(known & valid, peaks))
        return tuple(outputs)


def _scales_of(groups: Sequence[str], signal: SignalNormalization) -> tuple[Tensor, Tensor]:
    """Return mean and scale in uV of each group [K, 2], and whether it occurs among the training rows [K]."""
    scales = torch.tensor([0.0, 1.0]).repeat(len(groups), 1)
    in_group = torch.zeros(len(groups), dtype=torch.bool)
    for position, group in enumerate(groups):
        if group in signal.groups:
            scale = signal.groups[group]
            scales[position] = torch.tensor([scale.mean_uv, scale.std_uv])
            in_group[position] = True
    return scales, in_group


def _units_of(static: StaticEncoder) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each encoded parameter [S]: 0 and 1 for what is not a number."""
    shift = torch.zeros(static.dim)
    scale = torch.ones(static.dim)
    for column in static.columns:
        if column.kind == "number" and column.name in static.names:
            position = static.names.index(column.name)
            shift[position] = column.mean
            scale[position] = column.std
    return shift, scale


def _latents(model: Model) -> list[str]:
    return [f"z_{block}" for block in model.latent_dims]


def _nan_unless(known: Tensor, values: Tensor) -> Tensor:
    return torch.where(known, values, torch.full_like(values, torch.nan))
