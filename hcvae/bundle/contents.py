"""What a model bundle holds, in memory."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field

from hcvae.config import Config, Section
from hcvae.data.preprocessing import Preprocessing
from hcvae.described import Described
from hcvae.models import Model

History = list[dict[str, float | None]]
"""The metrics of every epoch; None (null in JSON) where one is not finite."""


class Origin(Section):
    """What config.json says beside the configuration."""

    format_version: int
    """See `hcvae.bundle.versions`."""
    hcvae_version: str | None
    """The hcvae that wrote the bundle; null: unknown."""
    weights_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    """Digest of model.safetensors, so that a damaged copy is noticed; null: unknown."""


@dataclass(frozen=True, repr=False)
class Bundle(Described):
    """A trained model with what is needed to use it."""

    model: Model
    """In eval mode, on the CPU."""
    config: Config
    """The complete configuration that it was trained with."""
    preprocessing: Preprocessing
    """Scales of the waveforms and encoding of the conditions."""
    metrics: dict[str, dict[str, float]]
    """Metrics by part of the split, `validation` and `test`; `test_lower` and `test_upper` limit 95 % intervals."""
    history: History
    """Metrics of every epoch of its training."""
    path: str | None = None
    """Where it was read; None: it was made in this process."""

    def facts(self) -> dict[str, object]:
        """Where it is from, what model it holds, and how good that is."""
        validation, preprocessing = self.metrics.get("validation", {}), self.preprocessing
        scores: dict[str, object] = {
            name: validation[name] for name in ("reconstruction_nmse", "disentanglement") if name in validation
        }
        return {
            "path": self.path,
            "model": self.config.model.model_type,
            "latents": dict(self.model.latent_dims),
            "parameters": f"{sum(parameter.numel() for parameter in self.model.parameters()):,}",
            "samples": f"{preprocessing.signal_length} at {preprocessing.sampling_rate_hz:g} Hz",
            "conditions": ", ".join(column.name for column in preprocessing.static.columns),
            "epochs": len(self.history),
            **scores,
        }


def nonfinite_to_none(history: Iterable[Mapping[str, float | None]]) -> History:
    """Return `history` with None in place of the numbers that JSON cannot hold."""

    def number(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return [{name: number(value) for name, value in epoch.items()} for epoch in history]
