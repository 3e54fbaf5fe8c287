import math

from hcvae.errors import UserError
from hcvae.evaluation.findings import MEASURES, SECTIONS, Findings, names_of


def refuse():
    raise UserError("signals: too few")


def test_a_refusal_is_the_reason_for_what_is_left_out():
    findings = Findings()
    findings.measure(["mig", "sap"], refuse)
    findings.measure(["r2"], lambda: {"r2": 0.5, "correlation": math.inf})
    findings.leave_out(["r2", "mig", "dci_completeness"], "no reason")
    assert findings.measures == {"r2": 0.5}
    assert findings.left_out == {
        "mig": "signals: too few",
        "sap": "signals: too few",
        "correlation": "not finite, but inf",
        "dci_completeness": "no reason",
    }


def test_what_a_later_call_measures_is_no_longer_left_out():
    findings = Findings()
    findings.measure(["mig", "total_correlation"], refuse)
    findings.measure(["total_correlation"], lambda: {"total_correlation": 1.0})
    assert findings.measures == {"total_correlation": 1.0}
    assert list(findings.left_out) == ["mig"]


def test_every_measure_is_in_one_section():
    assert sorted(names_of(*SECTIONS)) == sorted(MEASURES)
    assert len(names_of(*SECTIONS)) == len(MEASURES)
