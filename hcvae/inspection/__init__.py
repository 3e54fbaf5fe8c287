"""Summaries of waveform tables and model bundles, and checks for problems.

`read` returns `Recordings`, the input of `summarise`, `agreement_by_level` and `find`.
"""

from hcvae.finding import Finding
from hcvae.inspection.checks import find
from hcvae.inspection.recordings import Recordings, read
from hcvae.inspection.reliability import agreement_by_level
from hcvae.inspection.summary import summarise

__all__ = ["Finding", "Recordings", "agreement_by_level", "find", "read", "summarise"]
