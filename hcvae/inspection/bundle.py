"""Summary and diagnosis of a model bundle."""

from dataclasses import dataclass

import torch

from hcvae.bundle import Bundle
from hcvae.bundle.model_card import REPORTED, shown
from hcvae.counting import counted
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.static import StaticColumn
from hcvae.described import Described
from hcvae.finding import Finding
from hcvae.generation.conditions import condition_table
from hcvae.training.diagnosis import Diagnosis, examine
from hcvae.training.evaluation import sampled_peaks

SAMPLES = 500
"""Waveforms sampled for the typical condition of each normalisation group."""


@dataclass(frozen=True)
class ConditionSummary:
    """A static column of the model."""

    name: str
    kind: str
    trained_on: str
    """Range or categories in the training rows."""
    nulls: bool
    """Whether training rows had nulls."""


@dataclass(frozen=True, repr=False)
class BundleSummary(Described):
    """A model and its training."""

    model_type: str
    parameters: int
    latent_dims: dict[str, int]
    samples: int
    sampling_rate_hz: float
    conditions: list[ConditionSummary]
    labelled_waves: list[str]
    scales_uv: dict[str, tuple[float, float]]
    """Mean and standard deviation of the training waveforms, by normalisation group."""
    data: str
    """The tables or the simulator."""
    epochs: int
    metrics: dict[str, dict[str, float]]
    """Metrics by part of the split."""

    def facts(self) -> dict[str, object]:
        """Return the model, its size and its data."""
        sizes = {"parameters": f"{self.parameters:,}", "latents": self.latent_dims, "epochs": self.epochs}
        return {"model": self.model_type, **sizes, "data": self.data}


def summarise_bundle(bundle: Bundle) -> BundleSummary:
    """Summarise a bundle."""
    preprocessing = bundle.preprocessing
    data = bundle.config.data
    simulated = f"simulator, {counted(data.simulator.rows, 'waveform')}, seed {data.simulator.seed}"
    return BundleSummary(
        model_type=bundle.config.model.model_type,
        parameters=sum(parameter.numel() for parameter in bundle.model.parameters()),
        latent_dims=dict(bundle.model.latent_dims),
        samples=preprocessing.signal_length,
        sampling_rate_hz=preprocessing.sampling_rate_hz,
        conditions=[_condition(column) for column in preprocessing.static.columns],
        labelled_waves=list(preprocessing.labelled_waves),
        scales_uv=_scales_uv(preprocessing),
        data=", ".join(data.tables) or simulated,
        epochs=len(bundle.history),
        metrics=bundle.metrics,
    )


def _scales_uv(preprocessing: Preprocessing) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of the training waveforms by normalisation group."""
    return {name: (scale.mean_uv, scale.std_uv) for name, scale in preprocessing.signal.groups.items()}


def find_in_bundle(bundle: Bundle) -> list[Finding]:
    """Return the problems of its training; see docs/diagnosis.md."""
    return [Finding(finding.trouble, finding.evidence, finding.remedy) for finding in examine_bundle(bundle).findings]


def examine_bundle(bundle: Bundle) -> Diagnosis:
    """Diagnose the training of a bundle; sample peaks if the training did not, as before format version 3."""
    sampled = bundle.metrics["validation"]
    if "generated_impossible_peaks" not in sampled:
        typical = condition_table(bundle, list(bundle.preprocessing.typical.values()))
        static = torch.from_numpy(bundle.preprocessing.static.encode(typical)).repeat_interleave(SAMPLES, dim=0)
        sampled = sampled_peaks(bundle.model, static, bundle.preprocessing, torch.Generator().manual_seed(0))
    return examine(bundle.config, bundle.history, sampled)


def reported(metrics: dict[str, dict[str, float]]) -> list[tuple[str, list[str]]]:
    """Return the metrics of the model card, each with its value for each part, in the order of `metrics`."""
    rows: list[tuple[str, list[str]]] = []
    for name, meaning in REPORTED.items():
        if name == "disentanglement" or all(name in values for values in metrics.values()):
            cells = [shown(values.get(name)) for values in metrics.values()]
            rows.append((meaning, cells))
    return rows


def _condition(column: StaticColumn) -> ConditionSummary:
    trained_on = ", ".join(column.categories) or f"{column.minimum:g} to {column.maximum:g}"
    return ConditionSummary(column.name, column.kind, trained_on, column.has_nulls)
