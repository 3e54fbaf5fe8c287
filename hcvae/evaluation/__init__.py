"""Every measure of the project on a bundle and on baselines.

`own_rows` or `rows_of_tables` chooses the rows to evaluate; `evaluate_bundle` and the baselines return `Findings`.
"""

from hcvae.evaluation.findings import MEASURES, SECTIONS, Findings
from hcvae.evaluation.models import (
    evaluate_bundle,
    evaluate_condition_mean,
    evaluate_oracle,
    evaluate_principal_components,
    evaluate_recordings,
)
from hcvae.evaluation.rows import EvaluationRows, own_rows, rows_of_tables

__all__ = [
    "MEASURES",
    "SECTIONS",
    "EvaluationRows",
    "Findings",
    "evaluate_bundle",
    "evaluate_condition_mean",
    "evaluate_oracle",
    "evaluate_principal_components",
    "evaluate_recordings",
    "own_rows",
    "rows_of_tables",
]
