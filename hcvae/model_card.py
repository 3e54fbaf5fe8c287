"""The README.md of a model bundle."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hcvae.bundle import Bundle
    from hcvae.training.diagnosis import Finding

REPORTED = {
    "reconstruction_nmse": "reconstruction NMSE (0 perfect, 1 predicts the mean)",
    "disentanglement": "disentanglement, signed swap-routing score (1 routed as intended, -1 the other way round)",
    "cross_average_nmse": "NMSE against an independent average of the same recording",
    "r2": "R2",
    "correlation": "correlation",
    "global_active_units": "active units of z_global",
    "local_active_units": "active units of z_local",
}


def model_card(bundle: "Bundle", split: str, findings: Sequence["Finding"]) -> str:
    """What the model is, what it was trained on, how well that went and where it is valid, as Markdown."""
    config, preprocessing = bundle.config, bundle.preprocessing
    source = ", ".join(config.data.tables) or f"simulator ({config.data.simulator.rows} waveforms)"
    parameters = sum(p.numel() for p in bundle.model.parameters())
    latents = ", ".join(f"{dim} {block}" for block, dim in bundle.model.latent_dims.items())
    lines = [
        f"# {config.model.model_type.capitalize()} conditional VAE of auditory brainstem responses",
        "",
        "For research. Not for diagnosis.",
        "",
        f"- Parameters: {parameters:,}; latents: {latents}",
        f"- Waveforms: {preprocessing.signal_length} samples at {preprocessing.sampling_rate_hz:g} Hz, in uV",
        f"- Data: {source}",
        f"- {split}",
        "",
        "| measured on | validation (chosen by it) | test (held out) |",
        "| --- | --- | --- |",
    ]
    for name, meaning in REPORTED.items():
        if name in bundle.metrics["test"]:
            values = " | ".join(f"{bundle.metrics[part][name]:.4g}" for part in ("validation", "test"))
            lines.append(f"| {meaning} | {values} |")
    lines += ["", "One training, so no spread is known.", "", "| condition | trained on |", "| --- | --- |"]
    for column in preprocessing.static.columns:
        valid = ", ".join(column.categories) or f"{column.minimum:g} to {column.maximum:g}"
        lines.append(f"| {column.name} | {valid}{', or null' if column.has_nulls else ''} |")
    lines += ["", "Use: `hcvae generate --help`, or `hcvae.load(folder)` in Python."]
    troubles = [f"- {finding.trouble}: {finding.evidence}. Remedy: {finding.remedy}." for finding in findings]
    lines += ["", "## Diagnosis of the training", "", *(troubles or ["none"]), ""]
    return "\n".join(lines)
