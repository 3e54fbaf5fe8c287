"""Problems found in recordings or in a training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A problem, the evidence for it, and what to do."""

    trouble: str
    """A few words; for a training one of `hcvae.training.diagnosis.TROUBLES`."""
    evidence: str
    """The numbers, rows and subjects that show it."""
    remedy: str
    """What to do; for a training the configuration keys with their current values."""

    def __str__(self) -> str:
        return f"{self.trouble}: {self.evidence}. Remedy: {self.remedy}"
