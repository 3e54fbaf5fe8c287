"""Every measure of one bundle, and of the baselines.

Shapes: N rows, T samples.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.dataset import Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import NotMeasurable
from hcvae.evaluation.findings import MEASURES, Findings, names_of
from hcvae.evaluation.generation import generation_findings, peak_findings, sample_conditions
from hcvae.evaluation.known_factors import J_GT, known_factor_findings, routing_findings
from hcvae.evaluation.rows import EvaluationRows, generated_sample
from hcvae.metrics.ground_truth import oracle_routing, rows_with_factors
from hcvae.metrics.reconstruction import correlation, cross_average_nmse, denoised_nmse, nmse, peak_errors, r2
from hcvae.models import Model
from hcvae.models.base import evaluating
from hcvae.models.condition import ConditionRegression
from hcvae.models.pca import PrincipalComponents
from hcvae.readiness import routing_data
from hcvae.training.evaluation import EvaluationPart, evaluate, learnt_peaks
from hcvae.training.objective import Objective

RECONSTRUCTION = ("reconstruction_nmse", "r2", "correlation")
NO_PEAK_HEAD = "the model predicts no peaks"

ONE_THREAD = 1
"""The matrices are small: more threads of BLAS and OpenMP would mostly wait for each other."""

Progress = Callable[[str], None]


def evaluate_bundle(bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int = 0) -> Findings:
    """Return every measure of the bundle's model on `rows`, and the reason for each missing one."""
    findings = Findings()
    with threadpool_limits(ONE_THREAD):
        _model_findings(findings, bundle.model, bundle, rows, progress, seed)
    findings.leave_out(MEASURES, "not reported by the evaluation")
    return findings


def evaluate_principal_components(bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int = 0) -> Findings:
    """Return the same for principal components of the training part, as many as the bundle has latent dimensions.

    Raises:
        UserError: fewer training rows, or samples, than components.
    """
    findings = Findings()
    model = principal_components(bundle, rows)
    with threadpool_limits(ONE_THREAD):
        _model_findings(findings, model, bundle, rows, progress, seed)
    for name in ("validation_loss", *names_of("Latents")):
        findings.measures.pop(name, None)
    findings.leave_out(names_of("Latents"), "principal components have no posterior and no KL divergence")
    findings.leave_out(MEASURES, "not reported by the evaluation")
    return findings


def evaluate_condition_mean(bundle: Bundle, rows: EvaluationRows) -> Findings:
    """Measure the reconstruction by the mean waveform for the condition, fitted to the training part."""
    findings = Findings()
    part = rows.part
    (signals, static), held_out = _fitting_parts(rows)
    model = ConditionRegression(part.static.shape[1], part.signals.shape[1])
    held_out_signals, held_out_static = held_out
    model.fit(static, signals, (held_out_static, held_out_signals))
    predicted = model(torch.from_numpy(part.static)).numpy()
    _reconstruction(findings, predicted, part, bundle.preprocessing)
    findings.leave_out(MEASURES, "predicts one waveform for each condition, without latents or sampling")
    return findings


def evaluate_oracle(rows: EvaluationRows) -> Findings:
    """Measure J_gt of the simulator itself: the upper bound for a model with this reader."""
    findings = Findings()
    table = rows.recorded.table
    with threadpool_limits(ONE_THREAD):
        findings.measure(
            J_GT,
            lambda: routing_findings(findings, oracle_routing(table.take(rows_with_factors(table)))),
        )
    findings.leave_out(MEASURES, "the simulator with exchanged factors: only J_gt is defined for it")
    return findings


def evaluate_recordings(bundle: Bundle, rows: EvaluationRows, seed: int = 0) -> Findings:
    """Measure training recordings as if they were generated: the values of a perfect model."""
    findings = Findings()
    if rows.train is not None:
        chosen = np.random.default_rng(seed).permutation(len(rows.train))[: len(rows.recorded)]
        copies = rows.train.take(np.sort(chosen))
        data = bundle.config.data
        rate_hz = bundle.preprocessing.sampling_rate_hz
        with threadpool_limits(ONE_THREAD):
            generation_findings(findings, copies, rows, data, rate_hz, are_copies=True, seed=seed)
    findings.leave_out(MEASURES, "recordings, not a model: only generation is measured")
    return findings


def principal_components(bundle: Bundle, rows: EvaluationRows) -> PrincipalComponents:
    """Fit principal components, as many as the bundle has latent dimensions, and their prior to the training part.

    Raises:
        UserError: fewer rows, or samples, than components.
    """
    dims = bundle.model.latent_dims
    n_global = dims["global"]
    (signals, static), held_out = _fitting_parts(rows)
    n_local = sum(dims.values()) - n_global
    model = PrincipalComponents(signals.shape[1], static.shape[1], n_global, n_local)
    model.fit(signals)
    model.fit_generation(signals, static, held_out, generator=torch.Generator().manual_seed(0))
    return model


def decode_means(model: Model, posterior: Mapping[str, Tensor], static: Tensor) -> dict[str, Tensor]:
    """Return the decoder's outputs for the posterior means of every block, in eval mode."""
    latents = {f"z_{block}": posterior[f"mu_{block}"] for block in model.latent_dims}
    with torch.no_grad(), evaluating(model):
        return model.decode(**latents, static_params=static)


def encode(model: Model, part: Part) -> dict[str, Tensor]:
    """Return the posterior of every row of the part, in eval mode."""
    with torch.no_grad(), evaluating(model):
        return model.encode(torch.from_numpy(part.signals), torch.from_numpy(part.static))


def _model_findings(
    findings: Findings, model: Model, bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int
) -> None:
    """Add every measure of `model`, in the scales and with the loss of `bundle`, to `findings`."""
    part = rows.part
    preprocessing = bundle.preprocessing
    progress("reconstruction and swaps")
    posterior = encode(model, part)
    decoded = decode_means(model, posterior, torch.from_numpy(part.static))
    _reconstruction(findings, decoded["recon_signal"].numpy(), part, preprocessing)
    _objectives(findings, model, bundle, part)
    _peak_errors(findings, decoded, part, preprocessing)
    progress("known factors")
    known_factor_findings(findings, model, posterior, rows, bundle, seed)
    progress("generation")
    if "predicted_peaks" in decoded:
        peak_findings(findings, model, rows, preprocessing, seed)
    findings.leave_out(names_of("Generation: peaks"), NO_PEAK_HEAD)
    made = generated_sample(rows.recorded, sample_conditions(model, part, seed), part, preprocessing)
    generation_findings(findings, made, rows, bundle.config.data, preprocessing.sampling_rate_hz, seed=seed)


def _objectives(findings: Findings, model: Model, bundle: Bundle, part: Part) -> None:
    """Add the metrics of the training: disentanglement, and the use of the latents."""
    routing = None
    try:
        routing = routing_data(part, bundle.preprocessing)
    except NotMeasurable as reason:
        findings.leave_out(names_of("Disentanglement"), f"disentanglement cannot be measured on these rows: {reason}")
    evaluated = EvaluationPart.of(part, torch.device("cpu"), bundle.preprocessing, routing)
    objective = Objective(bundle.config)
    findings.measure(names_of("Latents"), lambda: evaluate(model, evaluated, objective))


def _peak_errors(findings: Findings, decoded: Mapping[str, Tensor], part: Part, preprocessing: Preprocessing) -> None:
    """Add the errors of predicted peaks, or the reason why there are none."""
    names = [name for name in names_of("Reconstruction") if name.startswith("peak_")]
    if "predicted_peaks" not in decoded:
        findings.leave_out(names, NO_PEAK_HEAD)
        return
    predicted = decoded["predicted_peaks"].numpy()
    learnt = part.peak_mask & learnt_peaks(preprocessing)
    findings.measure((), lambda: peak_errors(predicted, part.peaks, learnt))
    findings.leave_out(names, "no row, or no training row, has this peak labelled")


def _reconstruction(
    findings: Findings, predicted: NDArray[np.float32], part: Part, preprocessing: Preprocessing
) -> None:
    """Add the reconstruction errors in uV of normalised waveforms [N, T]."""
    predicted_uv = preprocessing.signal.denormalize(predicted, part.group)
    recorded_uv = preprocessing.signal.denormalize(part.signals, part.group)
    findings.measure(
        RECONSTRUCTION,
        lambda: {
            "reconstruction_nmse": nmse(predicted_uv, recorded_uv, part.group),
            "r2": r2(predicted_uv, recorded_uv),
            "correlation": correlation(predicted_uv, recorded_uv),
        },
    )
    other_uv = part.independent_averages(recorded_uv)
    findings.measure(
        ["cross_average_nmse"],
        lambda: {"cross_average_nmse": cross_average_nmse(predicted_uv, other_uv, part.group)},
    )
    findings.measure(
        ["denoised_nmse"],
        lambda: {"denoised_nmse": denoised_nmse(predicted_uv, recorded_uv, other_uv, part.group)},
    )


def _fitting_parts(rows: EvaluationRows) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return signals and static parameters of the training part, and of the validation part to choose the ridge."""
    if rows.train_part is None or rows.validation_part is None:
        raise ValueError("baselines are fitted to the training part, but these rows have none")
    return _signals_and_static(rows.train_part), _signals_and_static(rows.validation_part)


def _signals_and_static(part: Part) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.signals), torch.from_numpy(part.static)
