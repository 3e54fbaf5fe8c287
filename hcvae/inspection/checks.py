"""All checks of a waveform table."""

from hcvae.finding import Finding
from hcvae.inspection import duplicates, missing, polarity, reliability, scale, spelling
from hcvae.inspection.recordings import Recordings


def find(recordings: Recordings) -> list[Finding]:
    """Return the problems of a waveform table, the most serious first."""
    findings: list[Finding] = []
    for check in (missing.check, scale.check, spelling.check, polarity.check, duplicates.check, reliability.check):
        findings += check(recordings)
    return findings
