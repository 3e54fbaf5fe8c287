"""All checks of a waveform table."""

from hcvae.finding import Finding
from hcvae.inspection import duplicates, missing, polarity, reliability, scale
from hcvae.inspection.recordings import Recordings


def find(recordings: Recordings) -> list[Finding]:
    """What looks wrong, the gravest first."""
    return [
        finding
        for check in (missing.check, scale.check, polarity.check, duplicates.check, reliability.check)
        for finding in check(recordings)
    ]
