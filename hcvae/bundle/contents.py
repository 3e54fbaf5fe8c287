"""The contents of a model bundle in memory."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field

from hcvae.config import Config, Section
from hcvae.data.preprocessing import Preprocessing
from hcvae.described import Described
from hcvae.models import Model

History = list[dict[str, float | None]]
"""The metrics of every epoch; None (null in JSON) where a value is not finite."""


class Origin(Section):
    """The fields of config.json beside the configuration."""

    format_version: int
    """See `hcvae.bundle.versions`."""
    hcvae_version: str | None
    """Version of hcvae that wrote the bundle; null: unknown."""
    weights_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    """Digest of model.safetensors, to detect a damaged copy; null: unknown."""


@dataclass(frozen=True, repr=False)
class Bundle(Described):
    """A trained model with everything needed to use it."""

    model: Model
    """In eval mode, on the CPU."""
    config: Config
    """The complete configuration of its training."""
    preprocessing: Preprocessing
    """Scales of the waveforms and encoding of the conditions."""
    metrics: dict[str, dict[str, float]]
    """Metrics by part of the split, `validation` and `test`; `test_lower` and `test_upper` bound 95 % intervals."""
    history: History
    """Metrics of each epoch of its training."""
    path: str | None = None
    """Where it was read; None: created in this process."""

    @property
    def reconstruction_nmse(self) -> dict[str, float | None]:
        """The NMSE of its reconstructions, by part of the split."""
        return {part: self.metrics.get(part, {}).get("reconstruction_nmse") for part in ("validation", "test")}

    def facts(self) -> dict[str, object]:
        """Return its origin, its model and the model's objectives."""
        preprocessing = self.preprocessing
        validation = self.metrics.get("validation", {})
        objectives = ("reconstruction_nmse", "disentanglement")
        facts: dict[str, object] = {
            "path": self.path,
            "model": self.config.model.model_type,
            "latents": dict(self.model.latent_dims),
            "parameters": f"{self.model.n_parameters:,}",
            "samples": f"{preprocessing.signal_length} at {preprocessing.sampling_rate_hz:g} Hz",
            "conditions": ", ".join(preprocessing.static.by_name),
            "epochs": len(self.history),
        }
        for name in objectives:
            if name in validation:
                facts[name] = validation[name]
        return facts


def nonfinite_to_none(history: Iterable[Mapping[str, float | None]]) -> History:
    """Return `history` with None instead of the numbers that JSON cannot hold."""
    finite: History = []
    for epoch in history:
        finite.append({name: finite_or_none(value) for name, value in epoch.items()})
    return finite


def finite_or_none(value: float | None) -> float | None:
    """Return `value`, or None where JSON cannot hold it."""
    if value is None or not math.isfinite(value):
        return None
    return value
