"""Every measure of one bundle, and of the baselines beside it.

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
from hcvae.evaluation.known_factors import known_factor_findings, routing_findings
from hcvae.evaluation.rows import EvaluationRows, generated
from hcvae.metrics.ground_truth import oracle_routing, rows_with_factors
from hcvae.metrics.reconstruction import correlation, cross_average_nmse, nmse, peak_errors, r2
from hcvae.models import Model
from hcvae.models.base import evaluating
from hcvae.models.condition import ConditionRegression
from hcvae.models.pca import PrincipalComponents
from hcvae.training.evaluation import evaluate, learnt_peaks
from hcvae.training.objective import Objective
from hcvae.training.readiness import routing_data
from hcvae.training.tensors import PartTensors

RECONSTRUCTION = ("reconstruction_nmse", "r2", "correlation")

ONE_THREAD = 1
"""The matrices are small: more threads of BLAS and OpenMP wait for each other, busily, for most of their time."""

Progress = Callable[[str], None]


def evaluate_bundle(bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int = 0) -> Findings:
    """Every measure of the bundle's model on `rows`; what cannot be measured has its reason."""
    findings = Findings()
    with threadpool_limits(ONE_THREAD):
        _model_findings(findings, bundle.model, bundle, rows, progress, seed)
    findings.leave_out(MEASURES, "not reported by the evaluation")
    return findings


def evaluate_principal_components(bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int = 0) -> Findings:
    """The same of principal components, as many as the bundle has latent dimensions, fitted to its training part.

    Raises:
        UserError: fewer training rows, or samples, than components.
    """
    findings, model = Findings(), principal_components(bundle, rows)
    no_prior = "principal components have no posterior and no KL divergence"
    with threadpool_limits(ONE_THREAD):
        _model_findings(findings, model, bundle, rows, progress, seed)
    for name in ("validation_loss", *names_of("Latents")):
        findings.measures.pop(name, None)
    findings.leave_out(names_of("Latents"), no_prior)
    findings.leave_out(MEASURES, "not reported by the evaluation")
    return findings


def evaluate_condition_mean(bundle: Bundle, rows: EvaluationRows) -> Findings:
    """How well the mean waveform given the condition, fitted to the training part, reconstructs."""
    findings, part = Findings(), rows.part
    (signals, static), held_out = _fitting_parts(rows)
    model = ConditionRegression(part.static.shape[1], part.signals.shape[1])
    model.fit(static, signals, (held_out[1], held_out[0]))
    predicted = model(torch.from_numpy(part.static)).numpy()
    _reconstruction(findings, predicted, part, bundle.preprocessing)
    findings.leave_out(MEASURES, "predicts one waveform for a condition: it has no latent and draws nothing")
    return findings


def evaluate_oracle(rows: EvaluationRows) -> Findings:
    """J_gt of the simulator itself: what a perfect model would reach with this reader."""
    findings, table = Findings(), rows.recorded.table
    with threadpool_limits(ONE_THREAD):
        findings.take(
            ("j_gt", "j_gt_coarse", "j_gt_fine"),
            lambda: routing_findings(findings, oracle_routing(table.take(rows_with_factors(table)))),
        )
    findings.leave_out(MEASURES, "the simulator with its factors exchanged: only J_gt is defined for it")
    return findings


def evaluate_recordings(bundle: Bundle, rows: EvaluationRows, seed: int = 0) -> Findings:
    """The measures of generation with training recordings in place of the generated: what a perfect model reaches."""
    findings = Findings()
    if rows.train is not None:
        random = np.random.default_rng(seed)
        taken = random.permutation(len(rows.train))[: len(rows.recorded)]
        data, rate_hz = bundle.config.data, bundle.preprocessing.sampling_rate_hz
        copies = rows.train.take(np.sort(taken))
        with threadpool_limits(ONE_THREAD):
            generation_findings(findings, copies, rows, data, rate_hz, are_copies=True, seed=seed)
    findings.leave_out(MEASURES, "recordings, not a model: only generation is measured")
    return findings


def principal_components(bundle: Bundle, rows: EvaluationRows) -> PrincipalComponents:
    """Principal components of the training part, as many as the bundle has latent dimensions, with a prior.

    Raises:
        UserError: fewer rows, or samples, than components.
    """
    dims = bundle.model.latent_dims
    n_global = dims["global"]
    (signals, static), held_out = _fitting_parts(rows)
    model = PrincipalComponents(signals.shape[1], static.shape[1], n_global, sum(dims.values()) - n_global)
    model.fit(signals).fit_generation(signals, static, held_out, generator=torch.Generator().manual_seed(0))
    return model


def decode_means(model: Model, posterior: Mapping[str, Tensor], static: Tensor) -> dict[str, Tensor]:
    """The decoder's outputs for the means of every block, in eval mode."""
    latents = {f"z_{block}": posterior[f"mu_{block}"] for block in model.latent_dims}
    with torch.no_grad(), evaluating(model):
        return model.decode(**latents, static_params=static)


def encode(model: Model, part: Part) -> dict[str, Tensor]:
    """The posterior of every row of the part, in eval mode."""
    with torch.no_grad(), evaluating(model):
        return model.encode(torch.from_numpy(part.signals), torch.from_numpy(part.static))


def _model_findings(
    findings: Findings, model: Model, bundle: Bundle, rows: EvaluationRows, progress: Progress, seed: int
) -> None:
    part, preprocessing = rows.part, bundle.preprocessing
    progress("reconstruction and swaps")
    posterior = encode(model, part)
    decoded = decode_means(model, posterior, torch.from_numpy(part.static))
    _reconstruction(findings, decoded["recon_signal"].numpy(), part, preprocessing)
    objective = Objective(bundle.config)
    routing = None
    try:
        routing = routing_data(part, preprocessing)
    except NotMeasurable as reason:
        findings.leave_out(names_of("Disentanglement"), str(reason))
    findings.take(
        names_of("Latents"),
        lambda: evaluate(model, part, PartTensors.of(part, torch.device("cpu")), preprocessing, objective, routing),
    )
    if "predicted_peaks" in decoded:
        predicted = decoded["predicted_peaks"].numpy()
        learnt = part.peak_mask & learnt_peaks(preprocessing)
        findings.take((), lambda: peak_errors(predicted, part.peaks, learnt))
    no_head = "the model predicts no peaks"
    no_peaks = no_head if "predicted_peaks" not in decoded else "no row, or no training row, has this peak labelled"
    findings.leave_out((name for name in names_of("Reconstruction") if name.startswith("peak_")), no_peaks)
    progress("known factors")
    known_factor_findings(findings, model, posterior, rows, bundle, seed)
    progress("generation")
    if "predicted_peaks" in decoded:
        peak_findings(findings, model, rows, preprocessing, seed)
    findings.leave_out(names_of("Generation: peaks"), no_head)
    made = generated(rows.recorded, sample_conditions(model, part, seed), part, preprocessing)
    generation_findings(findings, made, rows, bundle.config.data, preprocessing.sampling_rate_hz, seed=seed)


def _reconstruction(
    findings: Findings, predicted: NDArray[np.float32], part: Part, preprocessing: Preprocessing
) -> None:
    """Of normalised waveforms [N, T], measured in uV."""
    predicted_uv = preprocessing.signal.denormalize(predicted, part.group)
    recorded_uv = preprocessing.signal.denormalize(part.signals, part.group)
    findings.take(
        RECONSTRUCTION,
        lambda: {
            "reconstruction_nmse": nmse(predicted_uv, recorded_uv, part.group),
            "r2": r2(predicted_uv, recorded_uv),
            "correlation": correlation(predicted_uv, recorded_uv),
        },
    )
    paired = part.independent >= 0
    other_uv = np.where(paired[:, None], recorded_uv[part.independent], np.nan)
    findings.take(
        ["cross_average_nmse"],
        lambda: {"cross_average_nmse": cross_average_nmse(predicted_uv, other_uv, part.group)},
    )


def _fitting_parts(rows: EvaluationRows) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Signals and static parameters of the training part, and of the validation part, which chooses the ridge."""
    if rows.train_part is None or rows.validation_part is None:
        raise ValueError("baselines are fitted to the training part; these rows came without one")
    train, validation = rows.train_part, rows.validation_part
    return (
        (torch.from_numpy(train.signals), torch.from_numpy(train.static)),
        (torch.from_numpy(validation.signals), torch.from_numpy(validation.static)),
    )
