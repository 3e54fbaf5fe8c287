"""What looks wrong in recordings or in a training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One trouble, the numbers that show it, and what to do."""

    trouble: str
    """In a few words; for a training one of `hcvae.training.diagnosis.TROUBLES`."""
    evidence: str
    """Numbers, rows, subjects."""
    remedy: str
    """What to do about it; for a training the configuration keys, with their present values."""

    def __str__(self) -> str:
        return f"{self.trouble}: {self.evidence}. Remedy: {self.remedy}"
