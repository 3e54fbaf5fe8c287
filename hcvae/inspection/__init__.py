"""What a waveform table or a model bundle holds, and what in it looks wrong.

`read` gives `Recordings`; `summarise`, `agreement_by_level` and `find` say what is in them.
"""

from hcvae.finding import Finding
from hcvae.inspection.checks import find
from hcvae.inspection.recordings import Recordings, read
from hcvae.inspection.reliability import agreement_by_level
from hcvae.inspection.summary import summarise

__all__ = ["Finding", "Recordings", "agreement_by_level", "find", "read", "summarise"]
