"""The README.md of a model bundle."""

from collections.abc import Sequence
from pathlib import Path

from hcvae.bundle.contents import Bundle
from hcvae.counting import counted
from hcvae.finding import Finding

REPORTED = {
    "reconstruction_nmse": "reconstruction NMSE (0 perfect, 1 predicts the mean)",
    "disentanglement": "disentanglement, signed swap-routing score (1 routed as intended, -1 the reverse)",
    "cross_average_nmse": "NMSE against an independent average of the same recording",
    "denoised_nmse": "NMSE about the response without noise (0 an ideal denoiser, 1 predicts the mean)",
    "r2": "R2",
    "correlation": "correlation",
    "generated_impossible_peaks": "share of generated waveforms with an impossible peak (place, order or size)",
    "generated_peak_distance_ms_V": "generated wave V: median distance from the nearest maximum of its waveform, ms",
    "global_active_units": "active units of z_global",
    "local_active_units": "active units of z_local",
}

INTENDED_USE = (
    "Generation of averaged auditory brainstem responses for research and teaching: to test analysis programs, to try "
    "out study designs, to show the effect of a factor. Generated waveforms are not recordings of a person: label them "
    "as generated wherever they are shown. Not for diagnosis, screening, or any decision about a patient."
)
VALIDITY = (
    "Outside these ranges `hcvae generate` refuses, or guesses with `--extrapolate`. Each column is checked by itself: "
    "two values within their ranges need not have occurred together."
)


def model_card(bundle: Bundle, split: str, findings: Sequence[Finding], precision: str) -> str:
    """Return a description of the model, its training data, its quality and its range of validity, as Markdown."""
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
    return "\n\n".join(map("\n".join, sections)) + "\n"


def _facts(bundle: Bundle, split: str, precision: str) -> list[str]:
    config = bundle.config
    preprocessing = bundle.preprocessing
    source = ", ".join(Path(table).name for table in config.data.tables)
    if not source:
        source = f"simulator ({counted(config.data.simulator.rows, 'waveform')})"
    waves = ", ".join(preprocessing.labelled_waves)
    if not waves or not config.model.predict_peaks:
        waves = "none, so no peaks are predicted"
    latents = ", ".join(f"{dim} {block}" for block, dim in bundle.model.latent_dims.items())
    return [
        f"- Parameters: {bundle.model.n_parameters:,}; latents: {latents}",
        f"- Waveforms: {preprocessing.signal_length} samples at {preprocessing.sampling_rate_hz:g} Hz, in uV",
        f"- Data: {source}",
        f"- Licence of the data: {config.data.licence or 'not stated'}",
        f"- Labelled waves: {waves}",
        f"- {split}",
        f"- Trained in {precision}",
    ]


def _metrics(bundle: Bundle) -> list[str]:
    """Return a table with a row for each metric; those of the test part with their interval, if any."""
    validation = bundle.metrics["validation"]
    test = bundle.metrics["test"]
    lower = bundle.metrics.get("test_lower", {})
    upper = bundle.metrics.get("test_upper", {})
    lines = ["| measured on | validation (chosen by it) | test (held out) |", "| --- | --- | --- |"]
    for name, meaning in REPORTED.items():
        if name in test or name in validation or name == "disentanglement":
            spread = ""
            if name in lower:
                spread = f" ({lower[name]:.4g} to {upper[name]:.4g})"
            lines.append(f"| {meaning} | {shown(validation.get(name))} | {shown(test.get(name))}{spread} |")
    return lines


def shown(value: float | None) -> str:
    """Return a metric as text; None: the data did not allow to measure it."""
    if value is None:
        return "not measured"
    return f"{value:.4g}"


def _spread(bundle: Bundle) -> str:
    one = "One training: the variation between seeds is not known."
    if not bundle.metrics.get("test_lower"):
        return f"{one} Too few test subjects or recordings for intervals."
    return f"In brackets: 95 % bootstrap intervals over the test part's subjects or recordings. {one}"


def _conditions(bundle: Bundle) -> list[str]:
    """Return a table of the training rows' values in each column, by normalisation group."""
    preprocessing = bundle.preprocessing
    groups = list(preprocessing.seen) or [""]
    titles = ["trained on"]
    if groups != [""]:
        titles = [f"trained on, {preprocessing.signal.group_by}={group}" for group in groups]
    lines = [f"| condition | {' | '.join(titles)} |", "| --- |" + " --- |" * len(groups)]
    for column in preprocessing.static.columns:
        ranges = [str(preprocessing.ranges(group)[column.name]) for group in groups]
        lines.append(f"| {column.name} | {' | '.join(ranges)} |")
    return lines
