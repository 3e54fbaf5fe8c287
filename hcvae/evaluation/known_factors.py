"""Disentanglement measured with known factors: J_gt, and the field's single-latent metrics as diagnostics.

Shapes: N rows, T samples, S static parameters, D latent dimensions of all blocks.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import Preprocessing
from hcvae.evaluation.findings import Findings, names_of
from hcvae.evaluation.rows import EvaluationRows
from hcvae.metrics.disentanglement import (
    dci,
    gaussian_total_correlation,
    modularity,
    mutual_information_gap,
    separated_attribute_predictability,
)
from hcvae.metrics.ground_truth import (
    GroundTruthRouting,
    condition_of,
    factors_of,
    ground_truth_routing,
    rows_with_factors,
)
from hcvae.models import Model

MAX_ROWS = 2000
"""Recordings used by the single-latent metrics, as boosting is slow."""
J_GT = ("j_gt", "j_gt_coarse", "j_gt_fine")


def known_factor_findings(
    findings: Findings,
    model: Model,
    posterior: dict[str, Tensor],
    rows: EvaluationRows,
    bundle: Bundle,
    seed: int = 0,
) -> None:
    """Add J_gt and the single-latent metrics of `model`, whose posterior of the rows is given, to `findings`."""
    findings.measure(J_GT, lambda: _ground_truth(findings, model, posterior, rows, bundle.preprocessing, seed))
    codes = torch.cat([posterior[f"mu_{block}"] for block in model.latent_dims], dim=1).double().numpy()
    recordings = rows.recorded.one_per_recording(bundle.config.data, MAX_ROWS, seed)
    shuffled = np.random.default_rng(seed).permutation(recordings)  # DCI needs a random order
    findings.measure(["total_correlation"], lambda: {"total_correlation": gaussian_total_correlation(codes[shuffled])})
    findings.measure(
        names_of("Known factors, one by one"),
        lambda: _single_latent(codes, rows.recorded.table, shuffled, seed),
    )


def routing_findings(findings: Findings, routing: GroundTruthRouting) -> dict[str, float]:
    """Return the three scores of a routing; add its shares and the reader's R2 to the details."""
    findings.details["factor_shares"] = {name: share._asdict() for name, share in routing.shares.items()}
    findings.details["reader_r2"] = dict(routing.reader_r2)
    return dict(zip(J_GT, (routing.signed, routing.coarse, routing.fine), strict=True))


def _ground_truth(
    findings: Findings,
    model: Model,
    posterior: dict[str, Tensor],
    rows: EvaluationRows,
    preprocessing: Preprocessing,
    seed: int,
) -> dict[str, float]:
    known = rows_with_factors(rows.recorded.table)
    findings.details["rows_with_factors"] = len(known)
    of_known = {name: values[known] for name, values in posterior.items()}
    routing = ground_truth_routing(
        _decoder_in_uv(model, preprocessing),
        of_known["mu_global"],
        of_known["mu_local"],
        torch.from_numpy(rows.part.static[known]),
        condition_of(rows.recorded.table.take(known)),
        z_intermediate=of_known.get("mu_intermediate"),
        seed=seed,
    )
    return routing_findings(findings, routing)


def _decoder_in_uv(model: Model, preprocessing: Preprocessing) -> Callable[..., Tensor]:
    """Return a function that decodes waveforms [N, T] in uV from the blocks' latents and static parameters [N, S]."""

    def decode(z_global: Tensor, z_local: Tensor, static: Tensor, *between: Tensor) -> Tensor:
        decoded = model.decode(z_global, z_local, static, *between)["recon_signal"]
        return torch.from_numpy(preprocessing.in_uv(decoded.numpy(), static.numpy()))

    return decode


def _single_latent(
    codes: NDArray[np.float64], table: pa.Table, chosen: NDArray[np.int64], seed: int
) -> dict[str, float]:
    """Return the metrics over those of the chosen rows whose factors are known."""
    rows = chosen[np.isin(chosen, rows_with_factors(table))]
    codes = codes[rows]
    factors = factors_of(table.take(rows))
    boosted = dci(codes, factors, seed)
    return {
        "mig": mutual_information_gap(codes, factors),
        "sap": separated_attribute_predictability(codes, factors),
        "modularity": modularity(codes, factors),
        "dci_disentanglement": boosted.disentanglement,
        "dci_completeness": boosted.completeness,
        "dci_informativeness": boosted.informativeness,
    }
