"""The README.md of a model bundle."""

from collections.abc import Sequence
from pathlib import Path

from hcvae.bundle.contents import Bundle
from hcvae.finding import Finding

REPORTED = {
    "reconstruction_nmse": "reconstruction NMSE (0 perfect, 1 predicts the mean)",
    "disentanglement": "disentanglement, signed swap-routing score (1 routed as intended, -1 the other way round)",
    "cross_average_nmse": "NMSE against an independent average of the same recording",
    "r2": "R2",
    "correlation": "correlation",
    "generated_impossible_peaks": "share of generated waveforms with a peak outside them or out of order",
    "generated_peak_distance_ms_V": "generated wave V: distance from a maximum of its waveform, ms, median",
    "global_active_units": "active units of z_global",
    "local_active_units": "active units of z_local",
}

INTENDED_USE = (
    "Generation of averaged auditory brainstem responses for research and teaching: to test analysis programs, to try "
    "out study designs, to look at what a factor does. Generated waveforms are no recordings of anybody: say so where "
    "they are shown. Not for diagnosis, screening, or any decision on a patient."
)
VALIDITY = (
    "Beyond these ranges `hcvae generate` refuses, or guesses with `--extrapolate`. Each column is looked at alone: "
    "that two values have been seen does not mean that they have been seen together."
)


def model_card(bundle: Bundle, split: str, findings: Sequence[Finding], precision: str) -> str:
    """What the model is, what it was trained on, how well that went and where it is valid, as Markdown."""
    troubles = [f"- {finding.trouble}: {finding.evidence}. Remedy: {finding.remedy}." for finding in findings]
    sections = [
        [f"# {bundle.config.model.model_type.capitalize()} conditional VAE of auditory brainstem responses"],
        ["For research. Not for diagnosis."],
        _facts(bundle, split, precision),
        ["## Intended use"],
        [INTENDED_USE],
        ["## How good it is"],
        _metrics(bundle),
        [_spread(bundle)],
        ["## Where it is valid"],
        _conditions(bundle),
        [VALIDITY],
        ["Use: `hcvae generate --help`, or `hcvae.load(folder)` in Python."],
        ["## Diagnosis of the training"],
        troubles or ["none"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _facts(bundle: Bundle, split: str, precision: str) -> list[str]:
    config, preprocessing = bundle.config, bundle.preprocessing
    source = (
        ", ".join(Path(table).name for table in config.data.tables)
        or f"simulator ({config.data.simulator.rows} waveforms)"
    )
    parameters = sum(p.numel() for p in bundle.model.parameters())
    latents = ", ".join(f"{dim} {block}" for block, dim in bundle.model.latent_dims.items())
    waves = ", ".join(preprocessing.labelled_waves)
    return [
        f"- Parameters: {parameters:,}; latents: {latents}",
        f"- Waveforms: {preprocessing.signal_length} samples at {preprocessing.sampling_rate_hz:g} Hz, in uV",
        f"- Data: {source}",
        f"- Licence of the data: {config.data.licence or 'not stated'}",
        f"- Labelled waves: {waves if waves and config.model.predict_peaks else 'none, so no peaks are predicted'}",
        f"- {split}",
        f"- Trained in {precision}",
    ]


def _metrics(bundle: Bundle) -> list[str]:
    """A row a metric; the test part's with its interval where there is one."""
    metrics = bundle.metrics
    lower, upper = (metrics.get(f"test_{end}", {}) for end in ("lower", "upper"))
    lines = ["| measured on | validation (chosen by it) | test (held out) |", "| --- | --- | --- |"]
    for name, meaning in REPORTED.items():
        if name in metrics["test"] or name in metrics["validation"] or name == "disentanglement":
            validation, test = (shown(metrics[part].get(name)) for part in ("validation", "test"))
            spread = f" ({lower[name]:.4g} to {upper[name]:.4g})" if name in lower else ""
            lines.append(f"| {meaning} | {validation} | {test}{spread} |")
    return lines


def shown(value: float | None) -> str:
    """A figure, or that the data did not allow to measure it."""
    return "not measured" if value is None else f"{value:.4g}"


def _spread(bundle: Bundle) -> str:
    one = "One training: how much another seed would change is not known."
    if not bundle.metrics.get("test_lower"):
        return f"{one} Too few test subjects or recordings for intervals."
    return f"In brackets: 95 % bootstrap intervals over the test part's subjects or recordings. {one}"


def _conditions(bundle: Bundle) -> list[str]:
    """What training rows had in each column, by normalisation group."""
    preprocessing = bundle.preprocessing
    groups = list(preprocessing.seen) or [""]
    by_group = [preprocessing.ranges(group) for group in groups]
    titles = [f"trained on{f', {preprocessing.signal.group_by}={group}' if group else ''}" for group in groups]
    lines = [f"| condition | {' | '.join(titles)} |", "| --- |" + " --- |" * len(groups)]
    for column in preprocessing.static.columns:
        lines.append(f"| {column.name} | {' | '.join(str(ranges[column.name]) for ranges in by_group)} |")
    return lines
