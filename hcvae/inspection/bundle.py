"""What a model bundle holds."""

from dataclasses import dataclass

import torch

from hcvae.bundle import Bundle
from hcvae.bundle.model_card import REPORTED, shown
from hcvae.data.static import StaticColumn
from hcvae.described import Described
from hcvae.finding import Finding
from hcvae.generation.conditions import condition_table
from hcvae.training.diagnosis import Diagnosis, examine
from hcvae.training.evaluation import sampled_peaks

DRAWN = 500
"""Waveforms for the typical condition of each normalisation group."""


@dataclass(frozen=True)
class ConditionSummary:
    """A column that conditions the model."""

    name: str
    kind: str
    trained_on: str
    """Range or categories of the training rows."""
    nulls: bool
    """Whether training rows had none."""


@dataclass(frozen=True, repr=False)
class BundleSummary(Described):
    """What a bundle is and how it was trained."""

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
    """What it was trained on."""
    epochs: int
    metrics: dict[str, dict[str, float]]
    """By part of the split."""

    def facts(self) -> dict[str, object]:
        """The model, and what it was trained on."""
        sizes = {"parameters": f"{self.parameters:,}", "latents": self.latent_dims, "epochs": self.epochs}
        return {"model": self.model_type, **sizes, "data": self.data}


def summarise_bundle(bundle: Bundle) -> BundleSummary:
    """Read it off the bundle."""
    preprocessing, data = bundle.preprocessing, bundle.config.data
    simulated = f"simulator, {data.simulator.rows} waveforms, seed {data.simulator.seed}"
    return BundleSummary(
        model_type=bundle.config.model.model_type,
        parameters=sum(parameter.numel() for parameter in bundle.model.parameters()),
        latent_dims=dict(bundle.model.latent_dims),
        samples=preprocessing.signal_length,
        sampling_rate_hz=preprocessing.sampling_rate_hz,
        conditions=[_condition(column) for column in preprocessing.static.columns],
        labelled_waves=list(preprocessing.labelled_waves),
        scales_uv={name: (scale.mean_uv, scale.std_uv) for name, scale in preprocessing.signal.groups.items()},
        data=", ".join(data.tables) or simulated,
        epochs=len(bundle.history),
        metrics=bundle.metrics,
    )


def find_in_bundle(bundle: Bundle) -> list[Finding]:
    """The troubles of its training; see docs/diagnosis.md."""
    troubles = examine_bundle(bundle).findings
    return [Finding(trouble.trouble, trouble.evidence, trouble.remedy) for trouble in troubles]


def examine_bundle(bundle: Bundle) -> Diagnosis:
    """Its diagnosis. Where its training did not draw peaks, as before format version 3, they are drawn now."""
    drawn = bundle.metrics["validation"]
    if "generated_impossible_peaks" not in drawn:
        typical = condition_table(bundle, list(bundle.preprocessing.typical.values()))
        static = torch.from_numpy(bundle.preprocessing.static.encode(typical)).repeat_interleave(DRAWN, dim=0)
        drawn = sampled_peaks(bundle.model, static, bundle.preprocessing, torch.Generator().manual_seed(0))
    return examine(bundle.config, bundle.history, drawn)


def reported(metrics: dict[str, dict[str, float]]) -> list[tuple[str, list[str]]]:
    """The metrics of the model card, with the figure of each part in the order of `metrics`."""
    return [
        (meaning, [shown(values.get(name)) for values in metrics.values()])
        for name, meaning in REPORTED.items()
        if all(name in values for values in metrics.values()) or name == "disentanglement"
    ]


def _condition(column: StaticColumn) -> ConditionSummary:
    trained_on = ", ".join(column.categories) or f"{column.minimum:g} to {column.maximum:g}"
    return ConditionSummary(column.name, column.kind, trained_on, column.has_nulls)
